"""The ranker: held against its formula, and where it must be exact."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.attribution.pictures import Pictures
from whence.data import load
from whence.diffusion.examples import Examples
from whence.errors import ConfigError, DataError, MismatchError
from whence.scores.scores import Estimand, Scores
from whence.similarity.attributors import attributor, pixel
from whence.similarity.make_ranker import distil, fit_weights, milliseconds
from whence.similarity.ranker import Ranker, kernel, picture_features

KNOBS = (0.5, 1.0, 0.03)


@pytest.fixture(scope="module")
def digits():
    return load("digits").select(range(60))


def write_teacher(folder, digits, others):
    """Scores of other digits by the squared likeness of pixels, with their pictures beside them."""
    values = torch.exp(-pixel(others.images(range(len(others))), others.ids, digits).scores.square() / 9)
    estimand = Estimand("a test", "none", "none", "none", "example")
    sign = "positive is proponent"
    scores = Scores(values, others.ids, digits.ids, digits.units, "likeness", estimand, sign, "sum")
    scores.write(folder / "likeness", {"data": "-"})
    kept = Examples(digits.ids[:5], digits.tensor[:5])
    Pictures(Examples(others.ids, others.tensor), kept, digits.units[:5]).write(folder / "pictures", {})
    return folder


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher"), digits, load("digits").select(range(100, 180)))


@pytest.fixture(scope="module")
def ranker(digits, teacher, tmp_path_factory):
    return distil(teacher, digits, tmp_path_factory.mktemp("ranker") / "ranker")


def test_the_scores_are_the_formula_written_out(digits, ranker):
    weights, picture = ranker.weights, load("digits").images([300])
    scores = ranker(picture, ["q"]).scores[0]
    f = (picture.flatten(1)[0] - weights.centre) / weights.scale
    for n in (0, 17, 59):
        near = np.exp(-float((f - weights.examples[n]).square().sum()) / (64 * float(weights.widths[0])))
        embedding = sum(
            np.exp(-float((f - c).square().sum()) / (64 * float(weights.widths[1]))) * h
            for c, h in zip(weights.landmarks, weights.head, strict=True)
        )
        expected = weights.mean[n] + weights.likeness * near + embedding @ weights.embeddings[n]
        assert scores[n].item() == pytest.approx(float(expected), abs=1e-4)
    assert torch.allclose(ranker.embed(picture), weights.embed(f[None]))


def test_it_agrees_with_its_teacher_on_queries_that_were_held_out(ranker):
    facts = ranker.manifest.facts
    assert facts["spearman"]["low"] > 0.8
    assert facts["top"]["low"] > 0.7
    assert facts["queries"] == 80
    assert milliseconds(ranker, load("digits").images(range(5))) < 100


def test_without_ridge_and_with_all_dimensions_the_teacher_is_repeated():
    source = torch.Generator().manual_seed(0)
    f, c, teacher = (torch.randn(*shape, generator=source) for shape in ((12, 6), (9, 6), (12, 9)))
    weights = fit_weights(f, c, teacher.double(), (0.5, 0.5, 1e-9), 12, torch.zeros(6), torch.ones(()))
    assert torch.allclose(weights.scores(f), teacher, atol=1e-3)


def test_fewer_dimensions_are_the_best_of_that_rank():
    """The predictions about m + a κ₀ are those of all dimensions, cut to rank 2 by their singular values."""
    source = torch.Generator().manual_seed(1)
    f, c, teacher = (torch.randn(*shape, generator=source) for shape in ((12, 6), (9, 6), (12, 9)))
    few, all_ = (fit_weights(f, c, teacher.double(), KNOBS, k, torch.zeros(6), torch.ones(())) for k in (2, 12))
    left, values, right = torch.linalg.svd(all_.embed(f) @ all_.embeddings.T)
    assert torch.allclose(few.embed(f) @ few.embeddings.T, left[:, :2] * values[:2] @ right[:2], atol=1e-4)


def test_the_order_of_the_data_and_the_scale_of_a_query_do_not_matter(digits, teacher, ranker, tmp_path):
    order = np.arange(60)[::-1].copy()
    turned = distil(teacher, digits.select(order), tmp_path / "turned")
    picture = load("digits").images([300])
    assert torch.allclose(turned(picture, ["q"]).scores[:, order.tolist()], ranker(picture, ["q"]).scores, atol=1e-4)
    scores = Scores.read(teacher / "likeness")
    factors = torch.linspace(0.1, 9, 80)[:, None]
    louder = tmp_path / "louder"
    Scores(
        scores.scores * factors, *(getattr(scores, name) for name in ("queries", "examples", "units", "method")),
        scores.estimand, scores.sign, scores.combine,
    ).write(louder / "likeness", {"data": "-"})  # fmt: skip
    Pictures.read(teacher / "pictures").write(louder / "pictures", {})
    again = distil(louder, digits, tmp_path / "again")
    assert torch.allclose(again(picture, ["q"]).scores, ranker(picture, ["q"]).scores, atol=1e-4)


def test_it_says_whose_scores_they_are_like(digits, ranker):
    scores = ranker(digits.images([0]), ["q"])
    assert scores.method == "ranker of likeness"
    assert scores.estimand.behaviour == "a test, as likeness would rank"
    assert (scores.sign, scores.combine, scores.examples) == ("positive is proponent", "sum", digits.ids)


def test_it_is_an_attributor_by_its_folder(digits, ranker, teacher, tmp_path):
    distil(teacher, digits, tmp_path / "ranker")
    found = attributor(f"ranker:{tmp_path / 'ranker'}", digits)(digits.images([3]), ["q"])
    assert torch.equal(found.scores, ranker(digits.images([3]), ["q"]).scores)
    assert artefacts.read_manifest(tmp_path / "ranker", "ranker").fingerprint == ranker.manifest.fingerprint


def test_features_of_large_pictures_are_few_and_a_vision_model_will_do(digits, teacher, model_folder, tmp_path):
    assert picture_features("pixels")(torch.zeros(1, 3, 100, 50)).shape == (1, 3 * 32 * 32)
    ranker = distil(teacher, digits, tmp_path / "ranker", features=f"embedding:{model_folder('dino')}", dimensions=4)
    assert ranker.embed(digits.images([0, 1])).shape == (2, 4)


def test_likeness_is_one_to_itself_and_falls_with_distance():
    values = kernel(torch.zeros(1, 4), torch.tensor([[0.0] * 4, [1.0] * 4, [2.0] * 4]), 2.0)[0]
    assert values.tolist() == pytest.approx([1, np.exp(-1 / 2), np.exp(-2)])


def test_what_is_refused(digits, teacher, ranker, tmp_path):
    with pytest.raises(MismatchError, match="have 59, such as"):
        distil(teacher, digits.select(range(59)), tmp_path / "a")
    swapped = digits.with_fields(pixels=np.asarray(digits.pixels)[::-1].copy())
    with pytest.raises(MismatchError, match="another picture than the one that was scored"):
        distil(teacher, swapped, tmp_path / "b")
    with pytest.raises(ConfigError, match="pixels and embedding:FOLDER"):
        distil(teacher, digits, tmp_path / "c", features="colour")
    with pytest.raises(ConfigError, match="given 0"):
        distil(teacher, digits, tmp_path / "d", dimensions=0)
    few = tmp_path / "few"
    scores = Scores.read(teacher / "likeness")
    Scores(
        scores.scores, scores.queries, scores.examples, scores.units, "m", scores.estimand, scores.sign, "sum"
    ).write(few / "m", {})
    with pytest.raises(DataError, match="0 of 80"):
        distil(few, digits, tmp_path / "e")
    with pytest.raises(MismatchError, match="ranks other training images"):
        Ranker.read(_folder(ranker, teacher, digits, tmp_path), digits.select(range(59)))


def _folder(ranker, teacher, digits, tmp_path):
    distil(teacher, digits, tmp_path / "again")
    return tmp_path / "again"


def test_the_python_of_its_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent.parent / "docs" / "ranker.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    whole, others = load("digits"), load("digits:test").select(range(25))
    distil(write_teacher(tmp_path / "scores", whole, others), whole, "ranker")
    names = {}
    exec(code, names)
    assert names["scores"].top("q", 1)[0][0] == whole.ids[3]
