"""What holds for every behaviour, and how behaviours are named."""

from dataclasses import replace

import numpy as np
import pytest

from whence.credit.behaviours import BEHAVIOURS, Behaviour, behaviour
from whence.credit.context import Context
from whence.credit.looks import Look
from whence.data import Dataset, load
from whence.errors import ConfigError, DataError, NotFiniteError

DIGITS = load("digits:test")
K = 60
NAMES = tuple(f"0/{k}" for k in range(K))
QUERIES = Dataset(("0/4", "b", "7/2"), DIGITS.pixels[:3], (("(none)",),) * 3, (None,) * 3)
CONTEXT = Context(
    DIGITS.select(range(100, 200)),
    DIGITS.select(range(200, 240)),
    NAMES,
    DIGITS.pixels[20 : 20 + K],
    QUERIES,
    np.array([True, False, True]),
)
LOOK = Look(DIGITS.pixels[90 : 90 + K], np.linspace(0.1, 0.2, 40), np.array([0.3, 0.2, 0.1]), DIGITS.pixels[8:10])
EMPTY = Look(LOOK.pictures[:0], np.zeros(0), np.zeros(0), LOOK.again[:0])
ALL = [*BEHAVIOURS.values(), behaviour("class:7"), behaviour("numpy:mean")]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_value_is_explained(one):
    rows = one.explained(CONTEXT)
    found = one.prepare(CONTEXT)(LOOK)
    assert found.dtype == np.float64
    assert found.shape == (len(rows),)
    assert len({name for name, _, _ in rows}) == len(rows)
    assert all((picture is None) == (one.about == "model") for _, _, picture in rows)
    assert set(one.needs) <= {"pictures", "held_out", "losses", "again"}


@pytest.mark.parametrize("one", [one for one in ALL if one.about == "model"], ids=lambda one: one.name)
def test_the_order_of_pictures_does_not_matter_to_a_model(one):
    order = np.random.default_rng(0).permutation(K)
    shuffled = replace(LOOK, pictures=LOOK.pictures[order], held_out=LOOK.held_out[::-1])
    values = one.prepare(CONTEXT)
    assert values(shuffled) == pytest.approx(values(LOOK), abs=1e-12)


@pytest.mark.parametrize("one", [one for one in ALL if one.about == "picture"], ids=lambda one: one.name)
def test_rows_of_pictures_name_their_query(one):
    asked = ["0/4", "b", "7/2"] if one.name == "fit" else ["0/4", "7/2"]
    rows = one.explained(CONTEXT)
    assert [picture for _, _, picture in rows] == asked
    assert [name for name, _, _ in rows] == [f"{one.name} {query}" for query in asked]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_only_what_is_needed_is_looked_at(one):
    kept = {need: getattr(LOOK, need) for need in one.needs}
    values = one.prepare(CONTEXT)
    assert np.array_equal(values(replace(EMPTY, **kept)), values(LOOK))


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_look_without_what_is_needed_is_refused(one):
    with pytest.raises(DataError, match=r"of every model; this look has 0"):
        one.prepare(CONTEXT)(EMPTY)


NO_NAMES = replace(CONTEXT, names=(), reference=CONTEXT.reference[:0])
NO_QUERIES = replace(CONTEXT, queries=None, drawn=np.zeros(0, bool))


@pytest.mark.parametrize(
    ("name", "context", "message"),
    [
        ("diversity", NO_NAMES, "none are to be drawn"),
        ("diversity", replace(CONTEXT, names=NAMES[:5], reference=CONTEXT.reference[:5]), "6 drawn pictures or more"),
        ("class:7", NO_NAMES, "none are to be drawn"),
        ("held-out-fit", replace(CONTEXT, held_out=None), "give some that training never saw"),
        ("coverage", replace(CONTEXT, held_out=None), "more than 5 held-out pictures, given 0"),
        ("precision", replace(CONTEXT, held_out=CONTEXT.held_out.select(range(5))), "held-out pictures, given 5"),
        ("fit", NO_QUERIES, "name the queries"),
        ("ssim", NO_QUERIES, "name the queries"),
        ("distance", replace(CONTEXT, drawn=np.zeros(3, bool)), "none of the 3 queries was drawn"),
        ("class:eleven", CONTEXT, "of class 'eleven'; the classes are 0, 1, 2"),
    ],
)
def test_a_context_without_what_is_needed_is_refused_before_any_model_is_looked_at(name, context, message):
    with pytest.raises(DataError, match=message):
        behaviour(name).prepare(context)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.array([np.nan]), NotFiniteError, "'odd' of a model is not finite"),
        (np.array([1.0, 2.0]), DataError, r"'odd' gave \(2,\) numbers, expected 1"),
        (np.float64(1.0), DataError, r"'odd' gave \(\) numbers"),
    ],
)
def test_what_is_not_a_number_of_each_row_is_refused(value, error, message):
    odd = Behaviour("odd", "Odd", "none", "model", frozenset(), lambda context: lambda look: value)
    with pytest.raises(error, match=message):
        odd.prepare(CONTEXT)(LOOK)


@pytest.mark.parametrize("name", ["", "diversty", "class", "class:", ":f", "fit:", "embedding:", "score:"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ConfigError, match="There is no behaviour .*; there are diversity, "):
        behaviour(name)


@pytest.mark.parametrize("kind", ["class", "embedding", "diversity", "coverage", "precision", "score"])
def test_names_with_an_argument_are_kept(kind):
    assert behaviour(f"{kind}:a/b:c").name == f"{kind}:a/b:c"
