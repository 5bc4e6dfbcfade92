"""The damping is chosen on the development pool and queries, and on nothing else."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.methods import METHODS
from whence.attribution.term_features import TermFeatures
from whence.evaluation.bank import Bank, Pool
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.development import choose_damping, develop, development_lds
from whence.evaluation.prediction.lds import lds


def rewritten(bank: Bank, name: str, change) -> Bank:
    """The bank with other losses in a pool."""
    path = bank.path / "pools" / name
    manifest, pool = artefacts.read_manifest(path, "pool"), Pool.read(path)
    artefacts.discard(path)
    replace(pool, losses=change(pool.losses.copy())).write(path, dict(manifest.inputs), dict(manifest.made))
    return Bank.open(bank.path)


@pytest.fixture
def own_bank(whole_bank, tmp_path) -> Bank:
    """A copy of the bank that a test may change."""
    return Bank.open(shutil.copytree(whole_bank.path, tmp_path / "bank"))


def measured(bank, board, tmp_path, name):
    """What is seen at 12 draws of a bank, with the features of another run."""
    shutil.copytree(board.work / "features", tmp_path / name / "features")
    config = board.config.model_copy(update={"draws": (12,)})
    return develop(Board(bank, tmp_path / name, config, workers=1))[12]


def test_only_development_counts(own_bank, made_board, tmp_path):
    shown = develop(made_board)[12]
    bank = rewritten(own_bank, "test", lambda losses: np.random.default_rng(0).random(losses.shape))

    def corrupted(losses):
        losses[:, :, ~own_bank.development] = np.random.default_rng(1).random(losses[:, :, ~own_bank.development].shape)
        return losses

    bank = rewritten(bank, "development", corrupted)
    assert measured(bank, made_board, tmp_path, "corrupted").lds == shown.lds


def test_development_counts(own_bank, made_board, tmp_path):
    bank = rewritten(own_bank, "development", lambda losses: np.random.default_rng(0).random(losses.shape))
    assert measured(bank, made_board, tmp_path, "other").lds != develop(made_board)[12].lds


def test_development_lds_is_the_mean_over_kinds(whole_bank):
    scores = np.random.default_rng(0).normal(size=(len(whole_bank.queries), len(whole_bank.examples)))
    pool = whole_bank.pool("development")
    values = lds(pool.kept, scores, pool.mean)
    kinds = [whole_bank.development & (whole_bank.drawn == kind) for kind in (False, True)]
    assert development_lds(whole_bank, whole_bank.queries, scores) == pytest.approx(
        np.mean([values[kind].mean() for kind in kinds])
    )


def test_drawn_queries_alone(whole_bank):
    names = [name for name, drawn in zip(whole_bank.queries, whole_bank.drawn, strict=True) if drawn]
    scores = np.random.default_rng(0).normal(size=(len(names), len(whole_bank.examples)))
    pool, development = whole_bank.pool("development"), whole_bank.development[whole_bank.drawn]
    values = lds(pool.kept, scores, pool.mean[:, whole_bank.drawn])
    assert development_lds(whole_bank, names, scores) == pytest.approx(values[development].mean())


def planned(board, one) -> tuple[FeaturePlan, FeatureStore]:
    return FeaturePlan.of(board.request([one], 12, drawn=False)), FeatureStore(board.work / "features")


@pytest.mark.parametrize("name", ["tangent", "trak", "das", "tracin"])
def test_several_dampings_are_each_damping_by_itself(made_board, name):
    one = METHODS[name]
    plan, store = planned(made_board, one)
    found = compute_scores(plan, store, errors=False, dampings=made_board.config.dampings)[name]
    assert list(found) == one.dampings(made_board.config.dampings)
    for damping, scores in found.items():
        slow = torch.zeros(len(scores.queries), len(scores.examples), dtype=torch.float64)
        for term in plan.terms[one]:
            features = TermFeatures.open(plan, store, term, one.feature, scores.queries)
            slow += features.order.weighted(one.function(features.pair(), damping))
        torch.testing.assert_close(scores.scores, slow, rtol=1e-6, atol=1e-9)


def test_a_damping_that_is_refused_is_left_out(made_board):
    plan, store = planned(made_board, METHODS["das"])
    assert list(compute_scores(plan, store, errors=False, dampings=(1e-300, 1.0))["das"]) == [1.0]


def test_scores_without_errors_are_those_with_errors(made_board):
    plan, store = planned(made_board, METHODS["trak"])
    left, right = (compute_scores(plan, store, errors=errors)["trak"] for errors in (False, True))
    assert torch.equal(left.scores, right.scores)
    assert left.standard_error is None
    assert right.standard_error is not None
    several = compute_scores(plan, store, dampings=[0.1, 1.0])["trak"]
    torch.testing.assert_close(several[0.1].standard_error, right.standard_error)


@pytest.mark.parametrize(
    ("name", "measured", "expected"),
    [
        ("trak", {0.1: 0.2, 1.0: 0.1}, 0.1),
        ("trak", {0.1: float("nan"), 1.0: -0.5}, 1.0),
        ("trak", {1.0: float("nan")}, 0.1),
        ("tangent", {1.0: 0.5, 2.0: 0.1}, 2.0),
    ],
)
def test_the_chosen_damping(name, measured, expected):
    assert choose_damping(METHODS[name], measured) == expected
