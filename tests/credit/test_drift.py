from functools import cache
from itertools import combinations
from math import factorial, sqrt

import numpy as np
import pytest

from whence.credit.coalitions import every, proper, shapley_coalitions
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.credit.drift import Drift, known_drifts, summary, table
from whence.credit.estimators import ADD_ONE_IN, BANZHAF, ESTIMATORS, LEAVE_ONE_OUT, SHAPLEY, estimator_facts
from whence.credit.estimators.owen import owen
from whence.credit.game import Game
from whence.credit.split import split_contributor, split_drifts
from whence.errors import ConfigError, DataError

RANDOM = np.random.default_rng(5).normal(size=16)
#: Values of four players: additive, one glove of one side and three of the other, saturating, anything.
GAMES = {
    "additive": lambda inside: float(inside @ np.array([3.0, -1.0, 0.5, 2.0])),
    "glove": lambda inside: float(min(inside[0], inside[1:].sum())),
    "saturating": lambda inside: sqrt(inside @ np.array([1.0, 4.0, 2.0, 0.0])),
    "random": lambda inside: RANDOM[inside @ (1 << np.arange(4))] - RANDOM[0],
}
PLAYERS = ("a", "b", "c", "d")
BASICS = {"shapley": SHAPLEY, "banzhaf": BANZHAF, "leave-one-out": LEAVE_ONE_OUT, "add-one-in": ADD_ONE_IN}


def merged(inside: np.ndarray) -> np.ndarray:
    """Coalitions of the copied game, in which names from the fourth on are d's, as those of the game."""
    return np.append(inside[:3], inside[3:].any())


def by_definition(function, players: int, estimator: str) -> np.ndarray:
    """Shares from the definitions, over all coalitions."""

    @cache
    def worth(members: frozenset) -> float:
        return function(np.isin(np.arange(players), list(members)))

    everybody, found = frozenset(range(players)), []
    for u in range(players):
        if estimator == "leave-one-out":
            found.append(worth(everybody) - worth(everybody - {u}))
        elif estimator == "add-one-in":
            found.append(worth(frozenset([u])) - worth(frozenset()))
        else:
            others = [frozenset(some) for k in range(players) for some in combinations(everybody - {u}, k)]
            odds = {
                "shapley": lambda s: factorial(len(s)) * factorial(players - 1 - len(s)) / factorial(players),
                "banzhaf": lambda s: 2.0 ** (1 - players),
            }[estimator]
            found.append(sum(odds(s) * (worth(s | {u}) - worth(s)) for s in others))
    return np.array(found)


def credit_of(estimator, game: Game, name: str | None = None) -> Credit:
    explained = tuple(
        Explained(one, one, "units", None, *ends)
        for one, *ends in zip(game.behaviours, game.none.tolist(), game.all.tolist(), strict=True)
    )
    shares = estimator.shares(game)
    return Credit(name or estimator.name, False, game.players, ((),) * len(game.players), explained, shares, None, {})


@pytest.mark.parametrize("names", [2, 3, 6])
@pytest.mark.parametrize("function", GAMES.values(), ids=GAMES)
@pytest.mark.parametrize("estimator", BASICS)
def test_copies_against_the_definition_of_the_copied_game(estimator, function, names):
    game = Game.of_function(PLAYERS, proper(4), function)
    drift = {one.unit: one for one in known_drifts(credit_of(BASICS[estimator], game), game=game, names=names)}["d"]
    before = by_definition(function, 4, estimator)[3]
    after = by_definition(lambda inside: function(merged(inside)), 3 + names, estimator)[3:]
    assert drift.before == pytest.approx(before, abs=1e-10)
    assert drift.after == pytest.approx(after.sum(), abs=1e-9)
    assert drift.each == pytest.approx(after[0], abs=1e-9)
    assert (drift.attack, drift.names, drift.behaviour) == ("copies", names, "value")


def test_copies_pay_by_shapley_values_where_returns_diminish_and_only_there():
    for name, worse in (("additive", 0), ("saturating", 1)):
        game = Game.of_function(PLAYERS, proper(4), GAMES[name])
        for u in range(3):
            totals = [SHAPLEY.replicated_totals(game, names)[0, u] for names in (1, 2, 5, 10)]
            assert np.all(np.diff(totals) > 1e-6 if worse else np.abs(np.diff(totals)) < 1e-9)
    alone = GAMES["saturating"](np.eye(4, dtype=bool)[1])
    assert SHAPLEY.replicated_totals(game, 2000)[0, 1] == pytest.approx(alone, rel=2e-3)


def test_shapley_copies_in_closed_form_for_ten_players_and_repeats_of_coalitions():
    source = np.random.default_rng(0)
    worth, rows = source.normal(size=2**10), proper(10)
    worth[0] = 0.3
    number = lambda inside: inside @ (1 << np.arange(10))  # noqa: E731
    game = Game.of_function([f"p{u}" for u in range(10)], rows, lambda inside: worth[number(inside)])
    uneven = game.select(np.concatenate([np.arange(len(rows)), [3, 3, 3, 77]]))
    for names in (1, 10):
        alone = np.array([s for s in every(10) if not s[4]])
        size = alone.sum(1)
        beta = np.array([names * factorial(s) * factorial(8 - s + names) / factorial(9 + names) for s in size])
        added = worth[number(alone) + (1 << 4)] - worth[number(alone)]
        assert SHAPLEY.replicated_totals(game, names)[0, 4] == pytest.approx(beta @ added, abs=1e-9)
        assert SHAPLEY.replicated_totals(uneven, names)[0, 4] == pytest.approx(beta @ added, abs=1e-9)


def test_drawn_coalitions_tell_the_copied_game_without_bias():
    """The mean over 20 draws of 300 of 1022 coalitions, against all of them; and as precise as Shapley values are."""
    size = np.linspace(0.5, 2, 10)
    function = lambda inside: sqrt(inside @ size) + 0.2 * (inside[0] and inside[1])  # noqa: E731
    exact = Game.of_function([f"p{u}" for u in range(10)], proper(10), function)
    expected = SHAPLEY.replicated_totals(exact, 10)[0]
    found, own = [], []
    for seed in range(20):
        game = Game.of_function(exact.players, shapley_coalitions(10, 300, seed), function)
        found.append(SHAPLEY.replicated_totals(game, 10)[0])
        own.append(SHAPLEY.shares(game)[0])
    error = np.std(found, axis=0).max()
    assert np.abs(np.mean(found, axis=0) - expected).max() < 4 * error / sqrt(20)
    assert error < 3 * np.std(own, axis=0).max()
    one_name = SHAPLEY.replicated_totals(game, 1)[0]
    assert one_name == pytest.approx(SHAPLEY.shares(game)[0], rel=1e-12)


def test_copies_do_nothing_to_an_additive_game_however_few_coalitions_tell_of_it():
    """Forty coalitions of twenty players, so that most sizes are missing with or without a player."""
    worth = np.random.default_rng(1).normal(size=20)
    game = Game.of_function([f"p{u}" for u in range(20)], shapley_coalitions(20, 40, 0), lambda inside: inside @ worth)
    assert SHAPLEY.replicated_totals(game, 10)[0] == pytest.approx(worth, abs=1e-8)


@pytest.mark.parametrize("function", GAMES.values(), ids=GAMES)
@pytest.mark.parametrize("labels", [("a", "b", "c", "d"), ("a", "b", "d", "d"), ("b", "b", "d", "d")])
def test_owen_values_of_a_cluster_that_copies_or_splits_stay(function, labels):
    """Copied, and split into names that only work together or each a little: the total is what it was to 1e-6."""
    one = owen(4, labels)
    game = Game.of_function(PLAYERS, one.coalitions(4, 10_000, 0), function)
    found = [drift for drift in known_drifts(credit_of(one, game), clusters=labels, names=3) if drift.unit == "d"]
    total = one.shares(game)[0][np.array(labels) == "d"].sum()
    assert [drift.attack for drift in found] == ["copies", "split"]
    many = owen(6, (*labels, "d", "d"))
    for together in (np.any, np.all, lambda names: names[0]):
        copied = lambda inside, how=together: function(np.append(inside[:3], how(inside[3:])))  # noqa: E731
        larger = Game.of_function(range(6), many.coalitions(6, 10_000, 0), copied)
        after = many.shares(larger)[0][np.array([*labels, "d", "d"]) == "d"].sum()
        assert after == pytest.approx(total, abs=1e-6)
        for drift in found:
            assert (drift.before, drift.after) == (pytest.approx(total, abs=1e-9),) * 2


def test_sums_of_scores_stay_when_split_and_grow_with_copies():
    game = Game.of_function(PLAYERS, proper(4), GAMES["additive"])
    found = known_drifts(credit_of(SHAPLEY, game, "sum-tangent"), names=10)
    assert {(one.attack, round(one.ratio, 9)) for one in found} == {("copies", 10), ("split", 1)}


def test_nobody_in_particular_takes_no_names():
    game = Game.of_function(("a", "(none)"), proper(2), lambda inside: float(inside.sum()))
    assert [one.unit for one in known_drifts(credit_of(SHAPLEY, game), game=game)] == ["a"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": 1}, "at least 2 names, given 1"),
        ({"game": None}, "computed from the game"),
        ({"game": Game.of_function(PLAYERS, proper(4), lambda inside: inside[:2].astype(float))}, "must be the same"),
    ],
)
def test_what_does_not_go_together_is_refused(changed, message):
    game = Game.of_function(PLAYERS, proper(4), GAMES["glove"])
    with pytest.raises(ConfigError, match=message):
        known_drifts(credit_of(SHAPLEY, game), **({"game": game} | changed))
    with pytest.raises(ConfigError, match="'beauty contest' is not known"):
        known_drifts(credit_of(SHAPLEY, game, "beauty contest"))


def test_of_every_estimator_it_is_known_what_copies_do():
    for name in (*ESTIMATORS, "sum-trak"):
        facts = estimator_facts(name)
        assert (facts.replication is None) != (facts.replicated_totals is None), name
        assert facts.meaning


#: Twelve examples: six of anna's, one of them also ben's, and others.
OWNERS = [("anna",)] * 5 + [("anna", "ben")] + [("ben",)] * 2 + [("cleo",)] * 3 + [("(none)",)]
WHOSE = Contributors.of(tuple(f"{n:02d}" for n in range(12)), OWNERS)


def test_a_split_deals_examples_evenly_and_leaves_the_others():
    for seed in range(3):
        one = split_contributor(WHOSE, "anna", 4, seed)
        assert one.parts == tuple(f"anna ({k} of 4)" for k in (1, 2, 3, 4))
        assert one.contributors.examples == WHOSE.examples
        places = [one.contributors.names.index(part) for part in one.parts]
        member = one.contributors.member
        assert sorted(member[places].sum(1)) == [1, 1, 2, 2]
        assert np.array_equal(member[places].sum(0), WHOSE.member[WHOSE.index_of("anna")])
        for name in ("ben", "cleo", "(none)"):
            assert np.array_equal(member[one.contributors.index_of(name)], WHOSE.member[WHOSE.index_of(name)])
        assert [label for label, name in zip(one.clusters, one.contributors.names, strict=True) if name != label] == [
            "anna"
        ] * 4


@pytest.mark.parametrize(("unit", "names"), [("anna", 1), ("anna", 7), ("ben", 4), ("(none)", 1)])
def test_a_split_into_nothing_is_refused(unit, names):
    with pytest.raises(ConfigError, match="can't take"):
        split_contributor(WHOSE, unit, names)
    with pytest.raises(DataError, match="no contributor 'dora'"):
        split_contributor(WHOSE, "dora", 2)


def trained(contributors: Contributors, concave: bool):
    """What a model of a coalition is worth: a weight for each example that it may train on, added up, or its root."""
    weight = np.arange(1.0, 13)

    def worth(inside: np.ndarray) -> float:
        total = weight[contributors.kept(inside)].sum()
        return sqrt(total) if concave else float(total)

    return worth


@pytest.mark.parametrize("concave", [False, True])
@pytest.mark.parametrize("estimator", BASICS)
def test_splits_against_the_definition(estimator, concave):
    before, one = trained(WHOSE, concave), split_contributor(WHOSE, "anna", 3)
    after = trained(one.contributors, concave)
    how, asked = BASICS[estimator], []

    def values(coalitions: np.ndarray) -> np.ndarray:
        asked.append(len(coalitions))
        return np.array([[after(row)] for row in coalitions])

    game = Game.of_function(
        WHOSE.names, every(4)[1:-1] if how in (SHAPLEY, BANZHAF) else how.coalitions(4, 0, 0), before
    )
    (drift,) = split_drifts(credit_of(how, game), one, how, values, count=100)
    exact = by_definition(after, 6, estimator)
    parts = [one.contributors.names.index(part) for part in one.parts]
    assert drift.before == pytest.approx(by_definition(before, 4, estimator)[0], abs=1e-9)
    assert drift.after == pytest.approx(exact[parts].sum(), abs=1e-9)
    assert asked == [62 if how in (SHAPLEY, BANZHAF) else 6]


def test_owen_values_over_the_parts_of_a_split_stay():
    one = split_contributor(WHOSE, "anna", 3)
    before, after = trained(WHOSE, True), trained(one.contributors, True)
    whole, parts = owen(4, WHOSE.names), owen(6, one.clusters)
    game = Game.of_function(WHOSE.names, whole.coalitions(4, 1000, 0), before)
    values = lambda coalitions: np.array([[after(row)] for row in coalitions])  # noqa: E731
    (drift,) = split_drifts(credit_of(whole, game), one, parts, values, count=1000)
    assert drift.ratio == pytest.approx(1, abs=1e-9)
    with pytest.raises(ConfigError, match="can't be shapley"):
        split_drifts(credit_of(whole, game), one, SHAPLEY, values, count=1000)


def test_tables():
    drifts = [
        Drift("banzhaf", "copies", 2, "a", "v", 2.0, 1.0),
        Drift("banzhaf", "copies", 2, "b", "v", -4.0, -5.0),
        Drift("banzhaf", "split", 2, "a", "v", 0.0, 1.0),
    ]
    rows = table(drifts)
    assert rows["ratio"][:2] == [0.5, 1.25]
    assert rows["ratio"][2] is None
    assert rows["each"] == [0.5, -2.5, 0.5]
    found = summary(drifts)
    assert (found["attack"], found["before"], found["after"]) == (["copies", "split"], [3.0, 0.0], [3.0, 1.0])
    assert found["ratio"][0] == 1
    assert np.isnan(found["ratio"][1])
