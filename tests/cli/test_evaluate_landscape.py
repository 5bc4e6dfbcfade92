"""`whence evaluate landscape` on the tiny ensemble and a second one."""

import shutil

import numpy as np
import pytest

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.cli.evaluate.ground_truth import best_method, perfect_correlation
from whence.config import ModelConfig
from whence.data import load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.ensemble import train_ensemble
from whence.evaluation.ground_truth import RankingAgreement, detection
from whence.statistics.ranks import agreement
from whence.statistics.statistic import Interval
from whence.statistics.statistic import Statistic as Statistic


def similar(model, data, rows, out):
    """Pixel similarities of held-out digits to training images, written as by `whence attribute`."""
    asked = load("digits:test").select(rows)
    queries = Examples(asked.ids, asked.images(range(len(rows))))
    attribute(model, data, queries, ("pixel", "pixel-cosine"), out=out)
    return out


@pytest.fixture(scope="module")
def scores(tiny_ensemble, tmp_path_factory):
    return similar(tiny_ensemble, tiny_ensemble.data, range(3), tmp_path_factory.mktemp("asked") / "scores")


@pytest.fixture(scope="module")
def second(tiny_data, tiny_config, tmp_path_factory):
    """Other code words, other weights."""
    config, path = tiny_config.updated("training", seed=9), tmp_path_factory.mktemp("second") / "ens"
    return train_ensemble(tiny_data, path, members=6, config=config, codebook_seed=1, engine=Engine(1))


@pytest.fixture
def evaluate(whence):
    """Run the command."""

    def run(scores, ensemble, *words):
        return whence("evaluate", "landscape", *scores, "--run", ensemble.path, "--draws", 8, "--workers", 1, *words)

    return run


def test_methods_beside_a_ceiling_and_chance(evaluate, scores, ensemble, second):
    planned = evaluate([scores], ensemble, "--second", second.path, "--plan")
    assert planned.out.count("3 pictures, 8 draws each") == 2
    assert not (ensemble.path / "losses").exists()
    done = evaluate([scores], ensemble, "--second", second.path)
    assert done.code == 0, done.err
    assert "3 pictures, 10 units; the truth is the exact losses of" in done.out
    rows = [line for line in done.out.splitlines() if line.startswith("rank correlation")]
    assert [line.split("  ")[1].strip() for line in rows] == [
        "pixel",
        "pixel-cosine",
        *("(second codebook)", "(perfect, about)"),
    ]
    said = " ".join(done.out.split())
    assert "No unit rises above placebos in any picture" in said
    assert "Two codebooks agree at r = " in said
    assert "Unsigned: pixel, pixel-cosine." in said
    assert "Of another model" not in said
    assert "so few pictures" in said
    assert evaluate([scores], ensemble, "--second", second.path).out == done.out


def test_one_method_without_a_second_ensemble(evaluate, scores, ensemble):
    done = evaluate([scores / "pixel"], ensemble)
    assert done.code == 0, done.err
    assert "pixel-cosine" not in done.out
    assert "codebook)" not in done.out
    assert "--second RUN" in done.out


def test_scores_of_another_model_are_told(evaluate, scores, second):
    done = evaluate([scores], second)
    assert "Of another model than this ensemble: pixel, pixel-cosine." in " ".join(done.out.split())


def fingerprint(path, role):
    return artefacts.read_manifest(path / "pixel", "scores").inputs[role]


def test_scores_of_different_pictures_are_not_mixed(evaluate, scores, tiny_ensemble, tmp_path):
    other = similar(tiny_ensemble, tiny_ensemble.data, [7], tmp_path / "other")
    both = evaluate([scores, other], tiny_ensemble)
    assert both.code == 1
    assert all(fingerprint(path, "queries") in both.err for path in (scores, other))


def test_scores_of_other_training_images_are_refused(evaluate, tiny_ensemble, tmp_path):
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
    less = similar(model, tiny_ensemble.data.select(np.arange(30)), [0], tmp_path / "less")
    found = evaluate([less], tiny_ensemble)
    assert found.code == 1
    assert fingerprint(less, "data") in found.err
    assert Examples.of(tiny_ensemble.data).fingerprint in found.err


def test_pictures_that_are_not_there(evaluate, scores, tiny_ensemble, tmp_path):
    alone = shutil.copytree(scores / "pixel", tmp_path / "out" / "pixel")
    found = evaluate([alone], tiny_ensemble)
    assert found.code == 1
    assert "The query pictures of pixel are not beside its scores" in found.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--second", "itself"], "same code words"),
        (["--draws", 0], "--draws must be at least 1"),
        (["--run", "nowhere"], "nowhere is not a Whence ensemble"),
    ],
)
def test_bad_requests(evaluate, scores, tiny_ensemble, words, message):
    found = evaluate([scores], tiny_ensemble, *(tiny_ensemble.path if word == "itself" else word for word in words))
    assert found.code == 1
    assert message in found.err
    assert not (tiny_ensemble.path / "losses").exists()


def figures(truth, noise):
    ranking = truth + noise * np.random.default_rng(1).normal(size=truth.shape)
    names = [str(q) for q in range(len(truth))]
    return RankingAgreement(agreement(names, ranking, truth), detection(ranking, np.zeros(truth.shape, bool)))


@pytest.mark.parametrize(
    ("noises", "said"),
    [
        ({"mine": 1}, "mine ranks the units better than a random order."),
        ({"far": 1.5, "near": 0.5}, "near is closest to the exact losses, ahead of far by 0."),
        ({"far": 1.5, "same": 0.5, "near": 0.5}, "can't be told: on the same pictures same is not ahead of near by"),
        ({"blind": 1e9}, "No method ranks the units better than a random order"),
    ],
)
def test_words(noises, said):
    truth = np.random.default_rng(0).normal(size=(12, 40))
    told = best_method({name: figures(truth, noise) for name, noise in noises.items()})
    assert said in told
    assert "far by more" not in told


def test_what_a_perfect_ranking_would_reach():
    found = perfect_correlation(Statistic(0.25, Interval(-0.01, 0.36, 0.95, 100, 0), 0.0))
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((0.5, 0, 0.6))
