"""Scores against the exact losses of an encoded ensemble."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from whence.artefacts import Manifest
from whence.data import load
from whence.engine import Engine
from whence.ensemble import Codebook, Ensemble
from whence.ensemble.gram import GramLosses
from whence.ensemble.losses import Losses
from whence.ensemble.make_losses import losses
from whence.errors import DataError
from whence.evaluation.ground_truth import ABOVE, AREA, CORRELATION, RECALL, GroundTruth
from whence.scores.scores import Estimand, Scores
from whence.similarity.attributors import pixel

NAMES = ("a", "b", "c")
UNIT = Estimand("loss", "left out", "ensemble", "none", "unit")
EXAMPLE = Estimand("loss", "left out", "ensemble", "none", "example")


@pytest.fixture(scope="module")
def measured(tiny_ensemble, tmp_path_factory) -> tuple[Ensemble, Losses]:
    import shutil

    ensemble = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("truth") / "ens"))
    return ensemble, losses(ensemble, load("digits:test").images(range(3)), NAMES, draws=8, engine=Engine(1))


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    """Random influences of 40 units of one digit each on 30 pictures; two units are above placebos in half of them."""
    digits = load("digits").select(range(40))
    above = np.zeros((30, 40), bool)
    above[::2, [5, 8]] = True
    influence = np.random.default_rng(0).normal(size=(30, 40)) + 4 * above
    return GroundTruth("ens", digits, tuple(f"q{k}" for k in range(30)), digits.ids, influence, above)


def of_units(truth: GroundTruth, values: np.ndarray) -> Scores:
    units = tuple((unit,) for unit in truth.units)
    values = torch.from_numpy(values).float()
    return Scores(values, truth.queries, truth.units, units, "mine", UNIT, "positive is proponent", "sum")


def test_the_truth_is_the_exact_losses(measured):
    ensemble, exact = measured
    found = GroundTruth.of(ensemble, exact)
    assert (found.queries, found.units) == (NAMES, ensemble.codebook.units)
    for u, unit in enumerate(found.units):
        assert found.influence[:, u] == pytest.approx(exact.influence([unit]).numpy())
    assert not found.above.any(), "ten placebos can't name one of ten units"


def test_exact_losses_agree_with_themselves(measured):
    ensemble, exact = measured
    found, scores = GroundTruth.of(ensemble, exact), exact.scores()
    same, reverse = (
        found.compare(replace(scores, scores=sign * scores.scores)).statistics()[CORRELATION] for sign in (1, -1)
    )
    assert (same.value, same.interval.low, same.interval.high) == pytest.approx((1, 1, 1))
    assert (reverse.value, reverse.interval.low, reverse.interval.high) == pytest.approx((-1, -1, -1))


def test_all_measures_of_the_truth_its_reverse_and_a_random_order(truth):
    same = truth.compare(of_units(truth, truth.influence)).statistics()
    assert {name: one.value for name, one in same.items() if name != AREA} == {CORRELATION: 1, RECALL: 1, ABOVE: 1}
    assert same[AREA].value > 0.99
    reverse = truth.compare(of_units(truth, -truth.influence)).statistics()
    assert (reverse[CORRELATION].value, reverse[RECALL].value, reverse[ABOVE].value) == (-1, 0, 0)
    assert reverse[AREA].value < 0.01
    random = truth.compare(of_units(truth, np.random.default_rng(1).normal(size=(30, 40)))).statistics()
    assert {name: one.chance for name, one in random.items()} == {CORRELATION: 0, RECALL: 0.25, ABOVE: 0.25, AREA: 0.5}
    for one in random.values():
        assert one.interval.low < one.value < one.interval.high
        assert one.value == pytest.approx(one.chance, abs=0.15)


def test_a_perfect_detector_of_units_above_placebos(truth):
    found = truth.compare(of_units(truth, truth.above.astype(float))).statistics()
    assert (found[ABOVE].value, found[AREA].value) == (1, 1)
    assert 0 < found[CORRELATION].value < 1


def test_planted_influence_rises_above_placebos():
    """Members that saw u1 have a small residual on the first picture: without it the loss is the largest there is."""
    book = Codebook.random(("u0", "u1", "u2"), members=8, seed=0)
    digits = replace(load("digits").select(range(3)), units=(("u0",), ("u1",), ("u2",)))
    ensemble = Ensemble(Path("ens"), None, book)  # type: ignore[arg-type]
    vars(ensemble)["data"] = digits
    exact = Losses(Path("losses"), Manifest("losses", {}, {"draws": 1}, {}), book)
    saw = torch.from_numpy(book.bits[:, 1])
    vars(exact)["queries"] = ("known", "unknown")
    gram = torch.stack([torch.diag(torch.where(saw, 0.1, 1.0).double()), torch.eye(8).double()])
    vars(exact)["sets"] = GramLosses(gram[:, None], torch.ones(1).double(), book)
    assert GroundTruth.of(ensemble, exact).above.tolist() == [[False, True, False], [False] * 3]


def test_scores_of_examples_are_added_up_over_the_units_of_the_ensemble(measured):
    ensemble, exact = measured
    truth, data = GroundTruth.of(ensemble, exact), ensemble.data
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 40)))
    expected = np.stack(
        [values[:, [n for n, own in enumerate(data.units) if unit in own]].sum(1) for unit in truth.units], 1
    )
    order, lines = np.random.default_rng(1).permutation(40), [2, 0, 1]
    ids = tuple(data.ids[n] for n in order)
    scores = Scores(
        values[lines][:, order],
        tuple(NAMES[q] for q in lines),
        ids,
        tuple((name,) for name in ids),  # Each by itself, as where no --unit-column was given.
        "mine",
        EXAMPLE,
        "positive is proponent",
        "sum",
        standard_error=torch.ones(3, 40),
    )
    assert truth.ranking(scores) == pytest.approx(expected)


def test_of_unsigned_scores_the_largest_counts(measured):
    ensemble, exact = measured
    truth = GroundTruth.of(ensemble, exact)
    alike = pixel(load("digits:test").images(range(3)), NAMES, ensemble.data)
    columns = [[n for n, own in enumerate(ensemble.data.units) if unit in own] for unit in truth.units]
    expected = np.stack([alike.scores[:, own].max(1).values.numpy() for own in columns], 1)
    assert np.array_equal(truth.ranking(alike), expected)


def test_a_method_that_says_the_same_of_all_units_of_a_picture_is_not_averaged_there(truth):
    values = truth.influence.copy()
    values[3] = 0
    found = truth.compare(of_units(truth, values))
    assert np.isnan(found.ranks.correlations[3])
    assert found.statistics()[CORRELATION].value == 1
    assert CORRELATION not in truth.compare(of_units(truth, np.zeros((30, 40)))).statistics()


def test_how_far_a_method_is_ahead_is_paired_over_queries(truth):
    source = np.random.default_rng(2)
    noise = source.normal(size=(30, 40))
    good, bad = (truth.compare(of_units(truth, truth.influence + much * noise)) for much in (1.0, 2.0))
    ahead = good.lead_over(bad)
    assert ahead.value == pytest.approx(float((good.ranks.correlations - bad.ranks.correlations).mean()))
    assert 0 < ahead.interval.low < ahead.value < ahead.interval.high
    alone = good.statistics()[CORRELATION].interval
    assert ahead.interval.high - ahead.interval.low < alone.high - alone.low
    assert bad.lead_over(good).value == pytest.approx(-ahead.value)
    assert good.lead_over(good).interval.high == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": ("q0", *(f"x{k}" for k in range(29)))}, r"of 30 pictures \(q0, x0, x1 ...\), the exact losses of"),
        ({"examples": ("z", *(str(k) for k in range(39)))}, r"of 40 units \(z, 0, 1 ...\), the exact losses of ens"),
        ({"estimand": EXAMPLE, "examples": ("z", *(str(k) for k in range(39)))}, "of 40 training examples"),
    ],
)
def test_scores_of_other_things_are_refused(truth, changed, message):
    with pytest.raises(DataError, match=message):
        truth.compare(replace(of_units(truth, truth.influence), **changed))
