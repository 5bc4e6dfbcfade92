"""From a run to weights that are checked, on a tiny run; and the numbers of a reweighting."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import whence
from whence.artefacts import read_table, read_tensors
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.diffusion.record import Record
from whence.engine import Engine
from whence.errors import ConfigError, DataError
from whence.reweighting.make_reweighting import ReweightingRequest, reweight, reweighting_cost
from whence.reweighting.reweighting import Reweighting

TRAINING = TrainingConfig(
    steps=6, batch_size=10, save_every=6, checkpoints=1, warmup=1, learning_rate=1e-2, clip_norm=0.0, ema=0.5
)


@pytest.fixture(scope="module")
def digits():
    return load("digits").select(range(30))


@pytest.fixture(scope="module")
def held_out():
    few = load("digits:test")
    return few.select([n for n, name in enumerate(few.classes) if name in "01"][:16])


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("reweighting") / "run"
    whence.train(digits, path, Config(model=ModelConfig(channels=(16,), attention=0), training=TRAINING))
    return path


@pytest.fixture(scope="module")
def request_(run, digits, held_out):
    out = run.parent / "fair"
    how = {"worst_of": "label", "weights_by": "image", "bound": 1.0, "draws": 8, "seeds": 2}
    return ReweightingRequest(run, digits, held_out, out, **how)


@pytest.fixture(scope="module")
def reweighting(request_):
    return reweight(request_, Engine(1))


def test_weights_stay_within_the_bound_and_keep_their_mean(reweighting, digits):
    assert reweighting.examples == digits.ids
    assert reweighting.weights.mean() == pytest.approx(1)
    assert 0 <= reweighting.weights.min() < 0.5
    assert 1.5 < reweighting.weights.max() <= 2
    assert reweighting.promised_worst > 0
    assert reweighting.promised_mean >= -1e-9


def test_the_run_was_trained_with_the_weights(reweighting, request_, digits):
    record = Record(request_.out / "run")
    assert record.ids == digits.ids
    assert list(record.weights) == pytest.approx(reweighting.weights.tolist())
    assert read_table(request_.out / "weights" / "weights.parquet")["weight"] == reweighting.weights.tolist()


def test_the_promise_is_the_derivative_times_the_change(reweighting, request_):
    derivative = read_tensors(request_.out / "derivative" / "derivative.safetensors")
    assert reweighting.before == pytest.approx(-derivative["losses"].numpy())
    change = sum(
        -derivative["derivative"][:, n] * (weight - 1) for n, weight in enumerate(reweighting.weights.tolist())
    )
    assert reweighting.promised - reweighting.before == pytest.approx(change.numpy())


def test_the_models_differ_by_weights_and_seed(reweighting):
    assert reweighting.plain.shape == reweighting.weighted.shape == (2, 2)
    values = np.concatenate([reweighting.plain, reweighting.weighted]).ravel()
    assert len(set(values.tolist())) == 8
    assert (values < 0).all()


def test_by_default_the_images_of_a_class_share_a_weight(request_, digits):
    shared = replace(request_, weights_by=None).sharers
    assert [{digits.classes[n] for n in rows} for rows in shared] == [{name} for name in sorted(set(digits.classes))]
    assert len(replace(request_, weights_by=None, worst_of=None).sharers) == 30


def test_the_same_call_again_trains_nothing(reweighting, request_, monkeypatch):
    monkeypatch.setattr("whence.reweighting.retrained.train", None)
    monkeypatch.setattr("whence.reweighting.retrained.RetrainedModels.train", lambda *_: None)
    again = reweight(request_, Engine(1))
    assert np.array_equal(again.weighted, reweighting.weighted)


def test_the_cost_is_of_the_derivative_and_five_models(request_):
    assert "5 x 6 steps" in reweighting_cost(request_, Engine(1)).work


def test_changes_have_the_interval_of_students_t():
    source = np.random.default_rng(0)
    plain, weighted = -source.uniform(1, 2, (4, 3)), -source.uniform(1, 2, (4, 3))
    one = Reweighting(
        ("a",), np.ones(1), "held-out-fit", ("x", "y", "z"), np.ones(3) / 3, plain[0], plain[1], plain, weighted
    )
    difference = weighted.min(1) - plain.min(1)
    low, high = stats.t.interval(0.95, 3, difference.mean(), stats.sem(difference))
    assert (one.worst.value, one.worst.interval.low, one.worst.interval.high) == pytest.approx(
        (difference.mean(), low, high)
    )
    assert one.of_group["y"].value == pytest.approx((weighted - plain)[:, 1].mean())
    assert one.mean.value == pytest.approx(((plain.mean(1) - weighted.mean(1)) / plain.mean(1)).mean())


@pytest.mark.parametrize(
    ("worst", "mean", "words"),
    [
        (0.3, 0.0, "is better with"),
        (-0.3, 0.0, "don't use them"),
        (0.3, -0.5, "worse by"),
        (0.0, 0.0, "cannot be told"),
    ],
)
def test_the_verdict_says_what_was_measured(worst, mean, words):
    plain = -np.array([[1.0, 2.0], [1.1, 2.1], [1.0, 2.1]])
    noise = np.array([[0.0, 0.01], [0.01, 0.0], [0.0, -0.01]])
    weighted = plain + noise + np.array([2 * mean, worst])
    half = np.array([0.5, 0.5])
    one = Reweighting(("a",), np.ones(1), "held-out-fit", ("x", "y"), half, plain[0], plain[0], plain, weighted)
    assert words in one.verdict
    assert one.is_fairer == (words == "is better with")


def test_what_is_refused(run, digits, held_out):
    with pytest.raises(ConfigError, match="'diversity' is measured on something else"):
        ReweightingRequest(run, digits, held_out, run.parent / "a", "diversity")
    with pytest.raises(ConfigError, match="given 1 seeds"):
        ReweightingRequest(run, digits, held_out, run.parent / "a", seeds=1)
    with pytest.raises(DataError, match="is not known"):
        reweight(
            ReweightingRequest(
                run, digits, held_out.with_fields(classes=(None,) * 16), run.parent / "a", worst_of="label"
            )
        )
