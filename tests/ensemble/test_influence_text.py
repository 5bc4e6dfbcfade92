"""The sentences about influence: tables of figures and words."""

import pytest
import torch

from whence.ensemble.influence import Influence, conclusion, format_p_value, independence_note, percent, summary


def reading(effects: list[float], placebos: int, level: float = 0.05) -> Influence:
    units = tuple(f"u{k}" for k in range(len(effects)))
    beside = torch.arange(placebos, dtype=torch.float64) / max(1, placebos)
    return Influence("0/0", units, torch.tensor(effects, dtype=torch.float64), beside, level)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (reading([9.0, 0.1], 99), "Above 99 placebos at a family-wise error of 5%, of 2 units: u0."),
        (reading([9.0], 19), "Above 19 placebos at a family-wise error of 5%, of 1 unit: u0."),
        (
            reading([3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 999, 0.01),
            "Above 999 placebos at a family-wise error of 1%, of 7 units: u6, u5, u4, u3, u2 and 2 more.",
        ),
        (
            reading([9.0], 1000, 0.001),
            "Above 1,000 placebos at a family-wise error of 0.1%, of 1 unit: u0.",
        ),
        (
            reading([9.0, 0.1], 38),
            "Nobody can be named: among 2 units at a family-wise error of 5% it takes 39 placebos, and there are 38.",
        ),
        (
            reading([9.0], 998, 0.001),
            "Nobody can be named: among 1 unit at a family-wise error of 0.1% it takes 999 placebos, and there are "
            "998.",
        ),
        (
            reading([9.0], 0),
            "Nobody can be named: among 1 unit at a family-wise error of 5% it takes 19 placebos, and there are 0.",
        ),
        (
            reading([0.5, 0.1], 100),
            "Nobody in particular: none of 2 units rises above 100 placebos at a family-wise error of 5%. One distance "
            "of more than 0.98 would have been named; the largest is 0.5.",
        ),
    ],
)
def test_verdicts(one, expected):
    assert conclusion(one) == expected


def test_the_noun_of_an_effect():
    assert "One increase of the loss of more than 0.95" in conclusion(reading([0.5], 20), "increase of the loss")


@pytest.mark.parametrize("units", [1, 2, 7])
@pytest.mark.parametrize("level", [0.05, 0.01, 0.2])
def test_a_verdict_never_contradicts_its_own_numbers(units, level):
    """At every number of placebos and every largest effect: named, or not above what would have been named."""
    for placebos in range(1, 250, 3):
        for largest in (-1.0, 0.5, 0.9, 0.99, 2.0):
            one = reading([largest] + [-2.0] * (units - 1), placebos, level)
            said = conclusion(one)
            if one.threshold is None:
                assert said.startswith("Nobody can be named")
                assert placebos < one.placebos_needed
            else:
                assert said.startswith("Above") == (largest > one.threshold)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            reading([0.95, 0.1], 99),
            "1 unit lies above 95% of the placebos by itself; 0.1 of 2 do by chance. As a whole they do not lie above "
            "them (p = .45).",
        ),
        (
            reading([2.0] * 9, 99, 0.001),
            "0 units lie above 99.9% of the placebos by themselves; 0 of 9 do by chance. As a whole they lie above "
            "them (p = 4e-07).",
        ),
        (
            reading([0.1] * 3, 0),
            "0 units lie above 95% of the placebos by themselves; 0 of 3 do by chance. As a whole they do not lie "
            "above them (p = 1.0).",
        ),
    ],
)
def test_backgrounds(one, expected):
    assert summary(one) == expected


@pytest.mark.parametrize(
    ("p", "words"),
    [(1.0, "1.0"), (0.5, ".50"), (0.1, ".10"), (0.05, ".050"), (0.031, ".031"), (0.001, ".001"), (9e-4, "9e-04")],
)
def test_chances(p, words):
    assert format_p_value(p) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.05, "5%"), (0.5, "50%"), (0.025, "2.5%"), (1e-6, "0.0001%"), (1 - 1e-6, "99.9999%")]
)
def test_percent(share, words):
    assert percent(share) == words


def test_shared_influence_is_counted():
    assert "16 members give at most 136 independent numbers" in independence_note(16)
