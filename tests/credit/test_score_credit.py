import numpy as np
import pytest
import torch
from scipy.stats import t as student

from whence.credit.contributors import Contributors
from whence.credit.score_credit import credit_of_scores
from whence.errors import ConfigError, MismatchError
from whence.scores.jackknife import Jackknife
from whence.scores.scores import Estimand, Scores

ESTIMAND = Estimand("loss of the query", "remove an example", "retraining", "m" * 64, "example")
APART = (("a",), ("b",), ("a",), ("c",), ("(none)",), ("b",))
SHARED = (("a",), ("a", "b"), ("a",), ("c",), ("(none)",), ("b", "c"))


def make(units=APART, **changed) -> Scores:
    """Scores whose jackknife is of eight groups of draws that all examples share, so that errors go together."""
    source = np.random.default_rng(0)
    draws = source.normal(size=(8, 3, 1)) + 0.3 * source.normal(size=(8, 3, 6))
    jackknife = Jackknife.zeros(3, 6)
    jackknife.add(None, torch.from_numpy(draws.mean(0)))
    for g in range(8):
        jackknife.add(g, torch.from_numpy(np.delete(draws, g, 0).mean(0)))
    fields = {
        "scores": jackknife.value.float(),
        "queries": ("0/0", "0/1", "0/2"),
        "examples": tuple("uvwxyz"),
        "units": units,
        "method": "trak",
        "estimand": ESTIMAND,
        "sign": "positive is proponent",
        "combine": "sum",
        "standard_error": jackknife.standard_error(),
        "draws": 8,
        "deviations": jackknife.deviations(),
    }
    return Scores(**(fields | changed))


def credit(scores: Scores):
    return credit_of_scores(scores, Contributors.of(scores.examples, scores.units))


@pytest.mark.parametrize("units", [APART, SHARED])
def test_shares_against_loops(units):
    scores = make(units)
    found = credit(scores)
    assert found.units == ("a", "b", "c", "(none)")
    for q, query in enumerate(scores.queries):
        assert found.explained[q].name == found.explained[q].picture == query
        for u, name in enumerate(found.units):
            own = [n for n in range(6) if name in units[n]]
            assert found.shares[q, u] == pytest.approx(sum(scores.scores[q, n].item() for n in own), abs=1e-6)
            assert found.examples[u] == tuple(scores.examples[n] for n in own)


def test_shares_and_remainder_are_the_sum_over_all_examples():
    for units in (APART, SHARED):
        scores = make(units)
        found = credit(scores)
        assert found.shares.sum(1) + found.remainder == pytest.approx(scores.scores.double().sum(1).numpy())
    assert credit(make(APART)).efficient
    assert credit(make(APART)).remainder == pytest.approx(np.zeros(3), abs=1e-12)
    twice = [n for n, own in enumerate(SHARED) if len(own) > 1]
    found = credit(make(SHARED))
    assert not found.efficient
    assert found.remainder == pytest.approx(-make().scores[:, twice].double().sum(1).numpy())
    assert found.how["remainder"].startswith("2 of 6 examples are of more than one contributor")


def test_splitting_a_contributor_leaves_its_total():
    whole, split = (("a",), ("b",)), (("a 1",), ("b",))
    rest = (("c",),) * 2
    before, after = credit(make((*whole, *whole, *rest))), credit(make((*split, *whole, *rest)))
    assert after.units == ("a", "a 1", "b", "c")
    assert after.shares[:, :2].sum(1) == pytest.approx(before.shares[:, 0], rel=1e-12)


@pytest.mark.parametrize("weights", [(1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 0, 0), (1, -1, 0, 0), (1, 1, 1, 1)])
def test_intervals_are_those_of_the_jackknife_of_the_sum_or_difference(weights):
    """Against Student's t with the error that `by_unit` finds for one unit made of these examples."""
    scores = make()
    found = credit(scores)
    signs = np.array([sum(w * (name in own) for w, name in zip(weights, found.units, strict=True)) for own in APART])
    sums = ((scores.deviations.double() * scores.standard_error.double()).numpy() * signs).sum(2)
    error = np.sqrt(7 / 8 * (sums**2).sum(0))
    middle = found.shares @ np.array(weights)
    low, high = np.quantile(found.replicates @ np.array(weights, np.float32), (0.025, 0.975), axis=0)
    assert (high - middle) / error == pytest.approx(student.ppf(0.975, 7), rel=0.08)
    assert (low - middle) / error == pytest.approx(student.ppf(0.025, 7), rel=0.08)


def test_errors_of_contributors_are_those_of_units():
    scores = make()
    spread = np.quantile(credit(scores).replicates, 0.975, axis=0) - credit(scores).shares
    by_unit = scores.by_unit()
    errors = {name: by_unit.standard_error[:, u].numpy() for u, name in enumerate(by_unit.examples)}
    for u, name in enumerate(("a", "b", "c", "(none)")):
        assert spread[:, u] == pytest.approx(errors[name] * student.ppf(0.975, 7), rel=0.08)


@pytest.mark.parametrize("gone", [{"deviations": None}, {"deviations": None, "standard_error": None, "draws": None}])
def test_without_deviations_there_is_no_interval_and_it_says_why(gone):
    found = credit(make(**gone))
    assert found.replicates is None
    assert found.how["interval"].startswith("None: ")


def test_the_order_of_examples_does_not_matter():
    scores = make()
    order = [3, 1, 5, 0, 4, 2]
    others = Contributors.of([scores.examples[n] for n in order], [APART[n] for n in order])
    found, expected = credit_of_scores(scores, others), credit(scores)
    assert found.shares == pytest.approx(expected.shares)
    assert found.replicates == pytest.approx(expected.replicates, abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recall": {"examples": 9}}, "of the candidates of a prefilter"),
        ({"combine": "max"}, "sums mean nothing.*tangent, tangent-squared, d-trak"),
        ({"sign": "unsigned"}, "no sign.*tangent, tangent-squared, d-trak"),
    ],
)
def test_scores_that_do_not_add_up_are_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        credit(make(**changed))


@pytest.mark.parametrize(
    ("examples", "message"),
    [("uvwxy", "'z' is only among the scores"), ("uvwxyzq", "'q' is only among the contributors")],
)
def test_scores_of_other_examples_are_refused(examples, message):
    units = [(name,) for name in examples]
    with pytest.raises(MismatchError, match=message):
        credit_of_scores(make(), Contributors.of(tuple(examples), units))
