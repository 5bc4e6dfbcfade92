import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from whence.ensemble.codebook import Codebook
from whence.ensemble.influence import Influence
from whence.errors import DataError, NotFiniteError
from whence.statistics.placebo_test import expected_maximum, holm, p_values, placebos_needed

values = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=8)


@given(values, values)
def test_chances_against_counting(effects, placebos):
    found = p_values(torch.tensor(effects), torch.tensor(placebos))
    for chance, effect in zip(found.tolist(), effects, strict=True):
        assert chance == (1 + sum(placebo >= effect for placebo in placebos)) / (1 + len(placebos))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_against_its_definition(chances):
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    expected, largest = [0.0] * len(chances), 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - step) * chances[i]))
        expected[i] = largest
    assert holm(torch.tensor(chances, dtype=torch.float64)).tolist() == pytest.approx(expected)


@given(values, st.data())
def test_the_expected_maximum_against_all_subsets(numbers, data):
    count = data.draw(st.integers(1, len(numbers)))
    every = [max(some) for some in itertools.combinations(numbers, count)]
    assert expected_maximum(torch.tensor(numbers), count) == pytest.approx(np.mean(every))


def reading(effects: list[float], placebos: int, level: float = 0.05) -> Influence:
    units = tuple(f"u{k}" for k in range(len(effects)))
    beside = torch.linspace(0, 1, placebos, dtype=torch.float64)
    return Influence("0/0", units, torch.tensor(effects, dtype=torch.float64), beside, level)


def test_one_unit_above_all_placebos_is_named():
    one = reading([0.2, 5.0, 0.9], 99)
    assert one.influential == ["u1"]
    assert one.order == [1, 2, 0]
    assert one.p_values[1] == 0.01
    assert one.adjusted_p_values[1] == pytest.approx(0.03)
    assert one.radius == 5.0


def test_nobody_in_particular():
    one = reading([0.2, 0.5, 0.9], 99)
    assert one.influential == []
    assert one.threshold is not None


@pytest.mark.parametrize(("units", "placebos"), [(3, 59), (3, 99), (10, 199), (10, 999), (1, 19), (7, 300)])
def test_the_threshold_is_the_smallest_effect_that_is_named(units, placebos):
    threshold = reading([0.0] * units, placebos).threshold
    assert reading([threshold + 1e-9] + [0.0] * (units - 1), placebos).influential == ["u0"]
    assert reading([threshold - 1e-9] + [0.0] * (units - 1), placebos).influential == []


@pytest.mark.parametrize(("units", "needed"), [(1, 19), (10, 199), (1500, 29_999)])
def test_with_too_few_placebos_nobody_can_be_named(units, needed):
    enough, few = reading([9.0] + [0.0] * (units - 1), needed), reading([9.0] + [0.0] * (units - 1), needed - 1)
    assert enough.placebos_needed == few.placebos_needed == needed
    assert enough.influential == ["u0"]
    assert few.influential == []
    assert few.threshold is None


def test_a_smaller_family_needs_fewer_placebos():
    one = reading([9.0] + [0.0] * 99, 199)
    assert one.influential == []
    assert one.restrict(["u0", "u5", "u0"]).influential == ["u0"]
    assert one.restrict(["u5", "u0"]).units == ("u5", "u0")
    with pytest.raises(DataError, match="no unit 'x'"):
        one.restrict(["x"])


def test_radii_of_equal_numbers():
    one = reading([0.1, 0.4, 0.3], 4)
    assert one.matched_count == 3
    assert one.matched_radius == pytest.approx(0.4)
    assert one.placebo_radius == pytest.approx(expected_maximum(one.placebos, 3))
    assert reading([0.1] * 9, 4).matched_count == 4


@pytest.mark.parametrize("family", [1, 20])
def test_error_rate_over_a_thousand_families_of_inert_units(family):
    """Units whose effects come from where the placebos' do: somebody is named in at most 5 % of the families."""
    source = np.random.default_rng(family)
    wrong = 0
    for _ in range(1000):
        drawn = torch.from_numpy(source.lognormal(0, 1, family + 999))
        units = tuple(map(str, range(family)))
        wrong += bool(Influence("q", units, drawn[:family], drawn[family:]).influential)
    assert wrong <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
    assert wrong >= 20  # and the test is not merely blind


@pytest.mark.parametrize("planted", [0.0, 1.0])
def test_error_rate_where_effects_are_losses_of_ablations(planted):
    """Units share members, so their effects go together; the first may matter, and its neighbours in code with it."""
    source, wrong, right = np.random.default_rng(3), 0, 0
    every = np.array([[m in word for m in range(8)] for word in itertools.combinations(range(8), 4)])
    for seed in range(400):
        book = Codebook.random(("u0", "u1", "u2"), 8, seed)
        residuals = source.normal(1, 0.5, (8, 5)) - planted * book.bits[:, :1]

        def effects(words: np.ndarray, residuals=residuals) -> torch.Tensor:
            means = (~words @ residuals) / (~words).sum(1, keepdims=True)
            return torch.from_numpy((means**2).mean(1))

        unassigned = np.array([word for word in every if tuple(np.flatnonzero(word)) not in book.words])
        named = set(Influence("q", book.units, effects(book.bits.T), effects(unassigned)).influential)
        right += "u0" in named
        wrong += bool(named - ({"u0"} if planted else set()))
    assert wrong <= 20 + 3 * np.sqrt(400 * 0.05 * 0.95)
    assert (right > 380) == bool(planted)


def test_units_that_matter_a_little_all_together():
    source = np.random.default_rng(0)
    effects, beside = source.normal(0.5, 1, 300), source.normal(0, 1, 300)
    units = tuple(map(str, range(300)))
    one = Influence("q", units, torch.from_numpy(effects), torch.from_numpy(beside))
    assert one.overall_p_value < 1e-3
    assert Influence("q", units, torch.from_numpy(beside), torch.from_numpy(effects)).overall_p_value > 0.5
    assert one.expected_by_chance == pytest.approx(300 * 15 / 301)


@pytest.mark.parametrize(("level", "units"), [(0.01, 1307), (0.01, 2601), (0.05, 3), (0.001, 7)])
def test_with_just_enough_placebos_rounding_costs_nobody_a_name(level, units):
    """1307 · 1/130700 is above 0.01 in floating point."""
    one = reading([2.0] + [-1.0] * (units - 1), placebos_needed(units, level), level)
    assert one.influential == ["u0"]


@pytest.mark.parametrize(("units", "beside"), [(1, 4), (2, 5), (4, 3), (3, 0)])
def test_the_whole_against_all_orders(units, beside):
    """If nobody matters, every choice of places for the units among all effects is as likely."""
    source = np.random.default_rng(units)
    drawn = source.normal(size=units + beside)
    one = Influence("q", tuple("abcd"[:units]), torch.from_numpy(drawn[:units]), torch.from_numpy(drawn[units:]))

    def above(places) -> int:
        rest = [k for k in range(units + beside) if k not in places]
        return sum(drawn[k] > drawn[other] for k in places for other in rest)

    every = [above(places) for places in itertools.combinations(range(units + beside), units)]
    assert one.overall_p_value == pytest.approx(np.mean([other >= above(range(units)) for other in every]))


@pytest.mark.parametrize(("placebos", "expected"), [(0, 0.0), (18, 0.0), (19, 0.15), (38, 3 / 39), (39, 0.15)])
def test_how_many_lie_above_by_chance(placebos, expected):
    """With 18 placebos nobody can have a chance of 5 %."""
    assert reading([0.0] * 3, placebos).expected_by_chance == pytest.approx(expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_effects_that_are_not_finite_are_refused(value):
    with pytest.raises(NotFiniteError, match="picture q"):
        Influence("q", ("u",), torch.tensor([value]), torch.zeros(3))
    with pytest.raises(NotFiniteError, match="picture q"):
        Influence("q", ("u",), torch.zeros(1), torch.tensor([0.0, value]))
