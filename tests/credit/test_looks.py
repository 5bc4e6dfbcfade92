"""What is measured of a model, and what all models are measured on."""

from dataclasses import replace

import numpy as np
import pytest

from whence.config import ModelConfig, SamplerConfig
from whence.credit.context import Context
from whence.credit.looks import NEEDS, Look, measure
from whence.data import Dataset, load
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, DataError, MismatchError
from whence.evaluation.bank.measure import draw_again, measure_losses
from whence.seeds import derived_seed

SAMPLER = SamplerConfig(method="ddim", steps=2, batch_size=4)
DIGITS = load("digits:test")
NAMES = ("1/0", "1/1", "0/4")
#: Two drawn queries, one of which is also among the names, and one that is not drawn.
QUERIES = Dataset(("0/4", "held out", "7/2"), DIGITS.pixels[5:8], (("(none)",),) * 3, (None,) * 3)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), 0)


@pytest.fixture(scope="module")
def context(model) -> Context:
    reference = draw_again(model, SAMPLER, NAMES)
    drawn = np.array([True, False, True])
    return Context(DIGITS.select(range(20, 30)), DIGITS.select(range(4)), NAMES, reference, QUERIES, drawn, draws=3)


@pytest.fixture(scope="module")
def look(model, context) -> Look:
    return measure(model, context, SAMPLER, NEEDS)


def test_a_look_is_what_the_model_draws_and_loses(model, context, look):
    draws = Draws(derived_seed(0, "measurement"), model.process.timesteps)
    assert np.array_equal(look.pictures, context.reference)
    assert np.array_equal(look.again, draw_again(model, SAMPLER, ["0/4", "7/2"]))
    assert look.held_out == pytest.approx(measure_losses(model, DIGITS.select(range(4)), draws, 3), rel=1e-6)
    assert look.losses == pytest.approx(measure_losses(model, QUERIES, draws, 3), rel=1e-6)


@pytest.mark.parametrize("needs", [(), *((need,) for need in NEEDS), ("again", "losses")])
def test_only_what_is_needed_is_measured_and_it_is_the_same(model, context, look, needs):
    found = measure(model, context, SAMPLER, needs)
    for need in NEEDS:
        expected = getattr(look, need) if need in needs else getattr(look, need)[:0]
        assert np.array_equal(getattr(found, need), expected), need


def test_without_held_out_pictures_and_queries(model, context):
    bare = replace(context, held_out=None, queries=None, drawn=np.zeros(0, bool))
    found = measure(model, bare, SAMPLER, NEEDS)
    assert [len(getattr(found, need)) for need in NEEDS] == [3, 0, 0, 0]


def test_the_seed_and_the_number_of_draws_count(model, context, look):
    for changed in (replace(context, seed=1), replace(context, draws=4)):
        found = measure(model, changed, SAMPLER, ["losses"])
        assert not np.array_equal(found.losses, look.losses)


def test_queries_that_can_be_drawn_again(context):
    assert context.again == ("0/4", "7/2")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drawn": np.zeros(2, bool)}, "Which of 3 queries were drawn"),
        ({"drawn": np.zeros(3, int)}, "Which of 3 queries were drawn is int64"),
        ({"queries": None}, "Which of 0 queries were drawn"),
        ({"names": ("0/0",)}, r"Reference pictures are uint8 \(3, 1, 8, 8\)"),
        ({"reference": np.zeros((3, 1, 8, 8))}, "Reference pictures are float64"),
        ({"reference": np.zeros((3, 1, 9, 8), np.uint8)}, "Reference pictures are"),
        (
            {"held_out": Dataset(("a",), np.zeros((1, 3, 8, 8), np.uint8), (("u",),), (None,))},
            r"Held-out pictures are of the size \(3, 8, 8\)",
        ),
        (
            {"queries": Dataset(("a", "b", "c"), np.zeros((3, 1, 4, 4), np.uint8), (("u",),) * 3, (None,) * 3)},
            "Queries are of the size",
        ),
    ],
)
def test_a_context_that_does_not_fit_is_refused(context, changed, message):
    with pytest.raises(DataError, match=message):
        replace(context, **changed)


def test_a_look_comes_back_from_disk(look, tmp_path):
    look.write(tmp_path / "look", {"model": "a"}, {"draws": 3}, {"seconds": 1.0})
    found = Look.read(tmp_path / "look")
    for need in NEEDS:
        assert np.array_equal(getattr(found, need), getattr(look, need))
        assert getattr(found, need).dtype == getattr(look, need).dtype


def test_a_look_that_is_there_is_left_and_another_is_refused(look, tmp_path):
    look.write(tmp_path / "look", {"model": "a"}, {})
    before = (tmp_path / "look" / "manifest.json").read_bytes()
    look.write(tmp_path / "look", {"model": "a"}, {})
    assert (tmp_path / "look" / "manifest.json").read_bytes() == before
    with pytest.raises(MismatchError):
        look.write(tmp_path / "look", {"model": "b"}, {})


def test_an_empty_look_can_be_written(tmp_path):
    none = np.zeros((0, 1, 8, 8), np.uint8)
    Look(none, np.zeros(0), np.zeros(0), none).write(tmp_path / "look", {}, {})
    assert Look.read(tmp_path / "look").again.shape == (0, 1, 8, 8)


def test_a_damaged_look_is_refused(look, tmp_path, flip_byte):
    look.write(tmp_path / "look", {}, {})
    flip_byte(tmp_path / "look" / "look.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        Look.read(tmp_path / "look")
