"""What is measured of a model, and what all models are measured on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.config import ModelConfig, SamplerConfig
from whence.data import Dataset, load
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.errors import ArtefactError, DataError, MismatchError
from whence.retraining.measurement import (
    LOOK,
    PARTS,
    RETRAINED,
    Measurement,
    MeasurementPlan,
    draw_pixels,
    measure,
    measure_losses,
)
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
def plan() -> MeasurementPlan:
    drawn = np.array([True, False, True])
    return MeasurementPlan(NAMES, DIGITS.select(range(4)), QUERIES, drawn, SAMPLER, draws=3)


@pytest.fixture(scope="module")
def measurement(model, plan) -> Measurement:
    return measure(model, plan)


def test_a_measurement_is_what_the_model_draws_and_loses(model, measurement):
    draws = Draws(derived_seed(0, "measurement"), model.process.timesteps)
    assert np.array_equal(measurement.pictures, draw_pixels(model, SAMPLER, NAMES))
    assert np.array_equal(measurement.redrawn, draw_pixels(model, SAMPLER, ["0/4", "7/2"]))
    assert measurement.held_out == pytest.approx(measure_losses(model, DIGITS.select(range(4)), draws, 3), rel=1e-6)
    assert measurement.losses == pytest.approx(measure_losses(model, QUERIES, draws, 3), rel=1e-6)
    assert measurement.weights == fingerprint(model)


@pytest.mark.parametrize("parts", [(), *((part,) for part in PARTS), ("redrawn", "losses")])
def test_only_some_parts_are_measured_and_they_are_the_same(model, plan, measurement, parts):
    some = measure(model, plan, parts)
    for part in PARTS:
        expected = getattr(measurement, part) if part in parts else getattr(measurement, part)[:0]
        assert np.array_equal(getattr(some, part), expected), part


def test_without_held_out_pictures_and_queries(model, plan):
    bare = replace(plan, held_out=None, queries=None, drawn=np.zeros(0, bool))
    measurement = measure(model, bare)
    assert [len(getattr(measurement, part)) for part in PARTS] == [3, 0, 0, 0] == list(bare.sizes.values())


def test_the_seed_and_the_number_of_draws_count(model, plan, measurement):
    for changed in (replace(plan, seed=1), replace(plan, draws=4)):
        assert not np.array_equal(measure(model, changed, ["losses"]).losses, measurement.losses)


def test_queries_that_can_be_drawn_again(plan):
    assert plan.redrawn == ("0/4", "7/2")
    assert list(plan.sizes.values()) == [3, 4, 3, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drawn": np.zeros(2, bool)}, "Which of 3 queries were drawn"),
        ({"drawn": np.zeros(3, int)}, "Which of 3 queries were drawn is int64"),
        ({"queries": None}, "Which of 0 queries were drawn"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(plan, changed, message):
    with pytest.raises(DataError, match=message):
        replace(plan, **changed)


@pytest.mark.parametrize("layout", [LOOK, RETRAINED], ids=lambda layout: layout.kind)
def test_a_measurement_comes_back_from_disk(measurement, tmp_path, layout):
    measurement.write(tmp_path / "one", layout, {"model": "a"}, {"draws": 3})
    again = Measurement.read(tmp_path / "one", layout)
    for part in PARTS:
        expected = getattr(measurement, part)
        expected = expected if part in layout.tensors else expected[:0]
        assert np.array_equal(getattr(again, part), expected)
        assert getattr(again, part).dtype == expected.dtype
    assert again.weights == (measurement.weights if layout.weights else None)


def test_a_measurement_that_is_there_is_left_and_another_is_refused(measurement, tmp_path):
    measurement.write(tmp_path / "one", LOOK, {"model": "a"}, {})
    before = (tmp_path / "one" / "manifest.json").read_bytes()
    measurement.write(tmp_path / "one", LOOK, {"model": "a"}, {})
    assert (tmp_path / "one" / "manifest.json").read_bytes() == before
    with pytest.raises(MismatchError):
        measurement.write(tmp_path / "one", LOOK, {"model": "b"}, {})


def test_an_empty_measurement_can_be_written(tmp_path):
    none = np.zeros((0, 1, 8, 8), np.uint8)
    Measurement(none, np.zeros(0), np.zeros(0), none).write(tmp_path / "one", LOOK, {}, {})
    assert Measurement.read(tmp_path / "one", LOOK).redrawn.shape == (0, 1, 8, 8)


def test_a_damaged_measurement_is_refused(measurement, tmp_path, flip_byte):
    measurement.write(tmp_path / "one", LOOK, {}, {})
    flip_byte(tmp_path / "one" / "look.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        Measurement.read(tmp_path / "one", LOOK)


def test_a_measurement_without_a_part_is_refused(tmp_path):
    with artefacts.create(tmp_path / "one", "look", inputs={}, made={}) as part:
        artefacts.write_tensors(part / "look.safetensors", {"losses": torch.zeros(2)})
    with pytest.raises(ArtefactError, match="not a whole look"):
        Measurement.read(tmp_path / "one", LOOK)
