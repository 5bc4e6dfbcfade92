"""Codebooks before they are made: what is promised of them, against codebooks that are."""

import itertools
import math

import numpy as np
import pytest
import torch

from whence.ensemble.codebook import Codebook
from whence.ensemble.codebook_design import CodebookDesign, designs, predicted_power
from whence.ensemble.influence import Influence
from whence.errors import ConfigError

ASKED = [(1, 1, 1), (6, 1, 1), (7, 1, 3), (12, 2, 1), (20, 2, 2), (9, 3, 1), (8, 4, 2)]


def words(members: int, weight: int) -> np.ndarray:
    """All code words, as rows of 0 and 1."""
    chosen = list(itertools.combinations(range(members), weight))
    return np.array([[m in word for m in range(members)] for word in chosen], float)


def left_at_worst(members: int, weight: int, remove: int) -> int:
    """Members left by the worst `remove` words of all there are."""
    every = [set(word) for word in itertools.combinations(range(members), weight)]
    groups = itertools.combinations(every, min(remove, len(every)))
    return min(members - len(set().union(*group)) for group in groups)


@pytest.mark.parametrize(("units", "remove", "survivors"), ASKED)
def test_the_guarantee_by_trying_all_units_together(units, remove, survivors):
    for design in itertools.islice(designs(units, remove, survivors), 3):
        book = Codebook.random([f"u{n}" for n in range(units)], design.members, 0, design.weight)
        for group in itertools.combinations(book.units, min(remove, units)):
            assert len(book.survivors(group)) >= design.guaranteed >= survivors
        assert all(len(book.survivors([unit])) == design.survivors for unit in book.units)


@pytest.mark.parametrize(("members", "weight", "remove"), [(4, 2, 1), (6, 3, 1), (6, 2, 2), (6, 2, 3), (7, 2, 3)])
def test_the_guarantee_is_tight(members, weight, remove):
    assert left_at_worst(members, weight, remove) == CodebookDesign(1, members, weight, remove).guaranteed


@pytest.mark.parametrize(("units", "remove", "survivors"), ASKED)
def test_fewer_members_or_heavier_words_would_not_do(units, remove, survivors):
    first = next(designs(units, remove, survivors))
    possible = [
        (members, weight)
        for members in range(2, first.members + 1)
        for weight in range(1, members // 2 + 1)
        if members - remove * weight >= survivors and len(words(members, weight)) >= units
    ]
    assert max(w for m, w in possible if m == first.members) == first.weight
    assert min(m for m, _ in possible) == first.members


@pytest.mark.parametrize(("members", "weight"), [(2, 1), (6, 3), (9, 4), (10, 2)])
def test_counting(members, weight):
    design = CodebookDesign(3, members, weight, 1)
    assert design.capacity == len(words(members, weight)) == math.comb(members, weight)
    assert design.placebos == design.capacity - 3


@pytest.mark.parametrize("level", [0.05, 0.01, 0.3])
@pytest.mark.parametrize(("members", "weight"), [(6, 3), (8, 4), (10, 3)])
def test_somebody_can_be_named_exactly_where_the_largest_effect_would_be(members, weight, level):
    capacity = math.comb(members, weight)
    answers = []
    for units in range(1, capacity):
        effects = torch.cat([torch.ones(1), torch.zeros(units - 1)]).double()
        beside = torch.zeros(capacity - units, dtype=torch.float64)
        reading = Influence("q", tuple(map(str, range(units))), effects, beside, level)
        answers.append(bool(reading.influential))
        assert CodebookDesign(units, members, weight, 1).can_name(level) == answers[-1]
    assert answers == sorted(answers, reverse=True)


def simulated(design: CodebookDesign, effect: float, trials: int, level: float = 0.05) -> tuple[float, float]:
    """Shares of trials, each with a codebook of its own, in which the first unit comes first and is named."""
    source, every = np.random.default_rng(7), words(design.members, design.weight)
    first = named = 0
    for trial in range(trials):
        book = Codebook.random([f"u{n}" for n in range(design.units)], design.members, trial, design.weight)
        loss = source.standard_normal(design.members) - effect * book.bits[:, 0]
        taken = book.bits.T.astype(float)
        free = np.array([word for word in every if tuple(np.flatnonzero(word)) not in book.words])
        effects, beside = (torch.from_numpy((1 - some) @ loss) for some in (taken, free.reshape(-1, design.members)))
        reading = Influence("q", book.units, effects, beside, level)
        first += reading.order[0] == 0
        named += "u0" in reading.influential
    return first / trials, named / trials


@pytest.mark.parametrize(
    ("design", "effect"),
    [
        (CodebookDesign(2, 2, 1, 1), 0.5),
        (CodebookDesign(6, 4, 2, 1), 1.0),
        (CodebookDesign(10, 6, 3, 1), 1.0),
        (CodebookDesign(3, 8, 4, 1), 1.0),
        (CodebookDesign(3, 8, 4, 1), 2.0),
        (CodebookDesign(12, 10, 5, 1), 2.0),
        (CodebookDesign(20, 10, 3, 1), 2.0),
    ],
)
def test_predicted_power_against_codebooks_that_are_drawn(design, effect):
    trials = 300
    found, expected = predicted_power(design, effect), simulated(design, effect, trials)
    for share, other in zip((found.first, found.named), expected, strict=True):
        assert abs(share - other) <= 3 * math.sqrt(0.25 / trials + 0.25 / 400)


@pytest.mark.parametrize(
    "design",
    [CodebookDesign(2, 2, 1, 1), CodebookDesign(5, 6, 3, 1), CodebookDesign(30, 10, 5, 1), CodebookDesign(70, 8, 4, 1)],
)
def test_without_an_effect_it_is_chance(design):
    found = predicted_power(design, 0.0)
    assert found.first == pytest.approx(1 / design.units, abs=0.06)
    assert found.named <= 0.05


@pytest.mark.parametrize(
    "design",
    [
        CodebookDesign(10, 6, 3, 1),
        CodebookDesign(20, 12, 4, 1),
        CodebookDesign(1500, 16, 8, 1),
        CodebookDesign(1500, 32, 16, 1),
    ],
)
def test_power_grows_with_the_effect(design):
    found = [predicted_power(design, effect) for effect in (0.0, 0.5, 1.0, 2.0, 4.0, 30.0)]
    for share in ("first", "named"):
        values = [getattr(one, share) for one in found]
        assert values == sorted(values)
    assert found[-1].first == 1.0
    assert found[-1].named == float(design.can_name())


def test_more_words_than_are_simulated():
    """The share of words above is scaled up: with 601 million words, 1,500 units are a chance of 1 in 1,500."""
    assert predicted_power(CodebookDesign(1500, 32, 16, 1), 0.0).first < 0.01
    few, many = predicted_power(CodebookDesign(20, 16, 8, 1), 1.5), predicted_power(CodebookDesign(20, 18, 9, 1), 1.5)
    assert few.first == pytest.approx(many.first, abs=0.12)  # 12,870 words, all of them; 48,620 words


def test_a_simulation_can_be_repeated():
    design = CodebookDesign(10, 6, 3, 1)
    assert predicted_power(design, 1.0, seed=3) == predicted_power(design, 1.0, seed=3)
    assert predicted_power(design, 1.0, seed=3) != predicted_power(design, 1.0, seed=4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((0, 1, 1), "must be at least 1; given 0, 1 and 1"),
        ((5, 0, 1), "must be at least 1"),
        ((5, 1, -1), "must be at least 1"),
        ((5, 1, 300), "leaves 300 members when any 1 are removed"),
        ((1500, 300, 1), "No codebook of at most 200 members has words for 1,500 units"),
        ((20_000, 99, 1), "Ask for less"),
    ],
)
def test_impossible_codebooks(asked, message):
    with pytest.raises(ConfigError, match=message):
        list(designs(*asked))


def test_power_of_too_few_words():
    with pytest.raises(ConfigError, match="6 code words are too few for 7 units"):
        predicted_power(CodebookDesign(7, 4, 2, 1), 1.0)
