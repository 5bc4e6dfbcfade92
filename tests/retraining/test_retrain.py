"""Retraining one model without some examples."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from whence import artefacts
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.evaluation.bank.make_bank import reference_seed
from whence.retraining.denoising_losses import measure_losses
from whence.retraining.measurement import Measurement, measure
from whence.retraining.retrain import retrain
from whence.seeds import derived_seed

ALL, HALF = np.arange(24), np.arange(0, 24, 2)


def draws_of(bank):
    return Draws(derived_seed(bank.plan.seed, "measurement"), bank.config.model.timesteps)


def weights_of(path):
    return fingerprint(DiffusionModel.load(path))


def test_with_nothing_removed_the_run_repeats_the_reference_model_bit_for_bit(tiny_bank, tmp_path):
    same = [
        tiny_bank.retraining(f"{k}-{weighted}", ALL, reference_seed(0, k), weighted=weighted)
        for k in (0, 1)
        for weighted in (True, False)
    ]
    found = retrain(tiny_bank, tmp_path, same, engine=Engine(1))
    for k, one in zip((0, 0, 1, 1), found, strict=True):
        assert one.weights == tiny_bank.fingerprints[k] == tiny_bank.reference.weights[0][k]
        assert np.array_equal(one.losses, tiny_bank.full[k])
        assert np.array_equal(one.redrawn, tiny_bank.reference.pictures[0, k])
    assert np.array_equal(found[0].redrawn, tiny_bank.queries_data.pixels[tiny_bank.drawn])


def test_a_weighted_run_is_the_reference_run_with_weight_0(tiny_bank, tmp_path):
    one = tiny_bank.retraining("run", HALF, reference_seed(0, 0), weighted=True)
    [found] = retrain(tiny_bank, tmp_path, [one], keep_models=True, engine=Engine(1))
    record, reference = Record(tmp_path / "run.model"), Record(tiny_bank.models[0])
    for name in ("rows", "visits", "timesteps"):
        assert record[name].equal(reference[name]), name
    assert record.weights == tuple(float(n in HALF) for n in ALL)
    data = tiny_bank.data
    gone = {name: 0.0 for n, name in enumerate(data.ids) if n not in HALF}
    train(data, tmp_path / "by hand", tiny_bank.config.updated("training", seed=reference_seed(0, 0)), weights=gone)
    assert found.weights == weights_of(tmp_path / "by hand") != tiny_bank.fingerprints[0]


def test_a_subset_is_trained_on_alone_for_as_many_epochs(tiny_bank, tmp_path):
    one = tiny_bank.retraining("run", HALF, seed=5)
    assert one.config.training.steps == tiny_bank.config.training.steps * len(HALF) // len(ALL)
    [found] = retrain(tiny_bank, tmp_path, [one], keep_models=True, engine=Engine(1))
    record = Record(tmp_path / "run.model")
    assert record.seen() == set(record.ids) == {tiny_bank.examples[n] for n in HALF}
    assert record["visits"].max() == Record(tiny_bank.models[0])["visits"].max()
    train(tiny_bank.data.select(HALF), tmp_path / "by hand", one.config)
    model = DiffusionModel.load(tmp_path / "by hand")
    assert found.weights == fingerprint(model) == weights_of(tmp_path / "run.model")
    assert np.array_equal(found.losses, measure_losses(model, tiny_bank.queries_data, draws_of(tiny_bank), 8))


@pytest.mark.parametrize(("kept", "steps"), [(24, 4), (23, 4), (12, 2), (3, 1), (1, 1)])
def test_steps_are_in_proportion_and_at_least_one(tiny_bank, kept, steps):
    training = tiny_bank.retraining("run", ALL[:kept], seed=0).config.training
    assert (training.steps, training.checkpoints) == (steps, 0)
    assert training.warmup <= steps // 2 or training.warmup == tiny_bank.config.training.warmup


def test_only_the_measurement_is_kept_and_it_is_not_made_again(tiny_bank, tmp_path):
    one = tiny_bank.retraining("run", HALF, seed=5)
    [found] = retrain(tiny_bank, tmp_path, [one], engine=Engine(1))
    assert artefacts.whole(tmp_path, "*") == [tmp_path / "run"]
    written = (tmp_path / "run" / artefacts.MANIFEST).stat().st_mtime_ns
    calls = []
    [again] = retrain(tiny_bank, tmp_path, [one], engine=Engine(1, lambda *now: calls.append(now)))
    assert (again.weights, calls) == (found.weights, [])
    assert (tmp_path / "run" / artefacts.MANIFEST).stat().st_mtime_ns == written


def test_two_writers_of_one_model_make_it_once(tiny_bank, tmp_path, monkeypatch):
    """The second waits, and finds the measurement; else it would train in the folder that the first removes."""
    one, measured = tiny_bank.retraining("run", HALF[:3], seed=5), []
    both = threading.Barrier(2)

    def slow(*given, **named):
        measured.append(given)
        time.sleep(0.3)
        return measure(*given, **named)

    def write() -> list[Measurement]:
        both.wait()
        return retrain(tiny_bank, tmp_path, [one], engine=Engine(1))

    monkeypatch.setattr("whence.retraining.retrain.measure", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = [future.result() for future in [pool.submit(write), pool.submit(write)]]
    assert len(measured) == 1
    assert np.array_equal(first[0].losses, second[0].losses)
    assert artefacts.whole(tmp_path, "*") == [tmp_path / "run"]


@pytest.mark.parametrize("other", [{"rows": HALF[1:]}, {"seed": 6}, {"weighted": True}])
def test_a_measurement_of_something_else_is_refused(tiny_bank, tmp_path, other):
    retrain(tiny_bank, tmp_path, [tiny_bank.retraining("run", HALF[:3], seed=5)], engine=Engine(1))
    changed = tiny_bank.retraining(**{"name": "run", "rows": HALF[:3], "seed": 5} | other)
    with pytest.raises(MismatchError, match="run was made from something else"):
        retrain(tiny_bank, tmp_path, [changed], engine=Engine(1))


def test_a_damaged_measurement_is_refused(tiny_bank, tmp_path, flip_byte):
    one = tiny_bank.retraining("run", HALF[:3], seed=5)
    retrain(tiny_bank, tmp_path, [one], engine=Engine(1))
    flip_byte(tmp_path / "run/measured.safetensors")
    with pytest.raises(ArtefactError, match=r"measured.safetensors is damaged.*Delete .*run and run the command"):
        retrain(tiny_bank, tmp_path, [one], engine=Engine(1))


def test_two_models_of_one_name_are_refused(tiny_bank, tmp_path):
    with pytest.raises(ConfigError, match="the same name"):
        retrain(
            tiny_bank, tmp_path, [tiny_bank.retraining("run", HALF, seed=5), tiny_bank.retraining("run", HALF, seed=6)]
        )
