"""What holds for every behaviour, and how behaviours are named."""

from dataclasses import replace

import numpy as np
import pytest

from whence.config import SamplerConfig
from whence.credit.behaviours import BEHAVIOURS, Behaviour, Context, behaviour, meaning
from whence.data import Dataset, load
from whence.errors import ConfigError, DataError, NotFiniteError
from whence.retraining.measurement import PARTS, Measurement, MeasurementPlan

DIGITS = load("digits:test")
K = 60
NAMES = tuple(f"0/{k}" for k in range(K))
QUERIES = Dataset(("0/4", "b", "7/2"), DIGITS.pixels[:3], (("(none)",),) * 3, (None,) * 3)
PLAN = MeasurementPlan(NAMES, DIGITS.select(range(200, 240)), QUERIES, np.array([True, False, True]), SamplerConfig())
CONTEXT = Context(DIGITS.select(range(100, 200)), PLAN, DIGITS.pixels[20 : 20 + K])
MEASURED = Measurement(
    DIGITS.pixels[90 : 90 + K], np.linspace(0.1, 0.2, 40), np.array([0.3, 0.2, 0.1]), DIGITS.pixels[8:10]
)
EMPTY = Measurement(MEASURED.pictures[:0], np.zeros(0), np.zeros(0), MEASURED.redrawn[:0])
ALL = [*BEHAVIOURS.values(), behaviour("class:7"), behaviour("numpy:mean")]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_value_is_explained(one):
    rows = one.list_rows(CONTEXT)
    found = one.prepare(CONTEXT)(MEASURED)
    assert found.dtype == np.float64
    assert found.shape == (len(rows),)
    assert len({name for name, _, _ in rows}) == len(rows)
    assert all((picture is None) == (one.about == "model") for _, _, picture in rows)
    assert set(one.needs) <= set(PARTS)


@pytest.mark.parametrize("one", [one for one in ALL if one.about == "model"], ids=lambda one: one.name)
def test_the_order_of_pictures_does_not_matter_to_a_model(one):
    order = np.random.default_rng(0).permutation(K)
    shuffled = replace(MEASURED, pictures=MEASURED.pictures[order], held_out=MEASURED.held_out[::-1])
    values = one.prepare(CONTEXT)
    assert values(shuffled) == pytest.approx(values(MEASURED), abs=1e-12)


@pytest.mark.parametrize("one", [one for one in ALL if one.about == "picture"], ids=lambda one: one.name)
def test_rows_of_pictures_name_their_query(one):
    asked = ["0/4", "b", "7/2"] if one.name == "fit" else ["0/4", "7/2"]
    rows = one.list_rows(CONTEXT)
    assert [picture for _, _, picture in rows] == asked
    assert [name for name, _, _ in rows] == [f"{one.name} {query}" for query in asked]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_only_what_is_needed_is_measured(one):
    kept = {need: getattr(MEASURED, need) for need in one.needs}
    values = one.prepare(CONTEXT)
    assert np.array_equal(values(replace(EMPTY, **kept)), values(MEASURED))


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_measurement_without_what_is_needed_is_refused(one):
    with pytest.raises(DataError, match=r"of every model; this measurement has 0"):
        one.prepare(CONTEXT)(EMPTY)


def planned(**changed: object) -> Context:
    """The context with another plan."""
    names = changed.get("names", NAMES)
    return Context(CONTEXT.data, replace(PLAN, **changed), CONTEXT.reference[: len(names)])


NO_NAMES = planned(names=())
NO_QUERIES = planned(queries=None, drawn=np.zeros(0, bool))


@pytest.mark.parametrize(
    ("name", "context", "message"),
    [
        ("diversity", NO_NAMES, "none are to be drawn"),
        ("diversity", planned(names=NAMES[:5]), "6 drawn pictures or more"),
        ("class:7", NO_NAMES, "none are to be drawn"),
        ("held-out-fit", planned(held_out=None), "give some that training never saw"),
        ("coverage", planned(held_out=None), "more than 5 held-out pictures, given 0"),
        ("precision", planned(held_out=PLAN.held_out.select(range(5))), "held-out pictures, given 5"),
        ("fit", NO_QUERIES, "name the queries"),
        ("ssim", NO_QUERIES, "name the queries"),
        ("distance", planned(drawn=np.zeros(3, bool)), "none of the 3 queries was drawn"),
        ("class:eleven", CONTEXT, "of class 'eleven'; the classes are 0, 1, 2"),
    ],
)
def test_a_context_without_what_is_needed_is_refused_before_any_model_is_measured(name, context, message):
    with pytest.raises(DataError, match=message):
        behaviour(name).prepare(context)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": ("0/0",)}, r"Reference pictures are uint8 \(60, 1, 8, 8\)"),
        ({"reference": np.zeros((60, 1, 8, 8))}, "Reference pictures are float64"),
        ({"reference": np.zeros((60, 1, 9, 8), np.uint8)}, "Reference pictures are"),
        (
            {"held_out": Dataset(("a",), np.zeros((1, 3, 8, 8), np.uint8), (("u",),), (None,))},
            r"Held-out pictures are of the size \(3, 8, 8\)",
        ),
        (
            {"queries": Dataset(("a", "b", "c"), np.zeros((3, 1, 4, 4), np.uint8), (("u",),) * 3, (None,) * 3)},
            "Queries are of the size",
        ),
    ],
)
def test_a_context_that_does_not_fit_is_refused(changed, message):
    reference = changed.get("reference", CONTEXT.reference)
    plan = {name: value for name, value in changed.items() if name != "reference"}
    with pytest.raises(DataError, match=message):
        Context(CONTEXT.data, replace(PLAN, **plan), reference)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.array([np.nan]), NotFiniteError, "'odd' of a model is not finite"),
        (np.array([1.0, 2.0]), DataError, r"'odd' gave \(2,\) numbers, expected 1"),
        (np.float64(1.0), DataError, r"'odd' gave \(\) numbers"),
    ],
)
def test_what_is_not_a_number_of_each_row_is_refused(value, error, message):
    odd = Behaviour("odd", "Odd", "none", "model", frozenset(), lambda context: lambda measurement: value)
    with pytest.raises(error, match=message):
        odd.prepare(CONTEXT)(MEASURED)


@pytest.mark.parametrize("name", ["", "diversty", "class", "class:", ":f", "fit:", "embedding:", "score:"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ConfigError, match="There is no behaviour .*; there are diversity, "):
        behaviour(name)


@pytest.mark.parametrize("kind", ["class", "embedding", "diversity", "coverage", "precision", "score"])
def test_names_with_an_argument_are_kept(kind):
    assert behaviour(f"{kind}:a/b:c").name == f"{kind}:a/b:c"


@pytest.mark.parametrize("one", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_every_behaviour_says_what_it_means(one):
    names = ["class:7"] if one.name == "classes" else [name for name, _, _ in one.list_rows(CONTEXT)]
    assert one.meaning
    assert all(meaning(name) for name in names)


def test_the_meaning_of_a_function_is_not_known_and_it_is_not_loaded():
    assert meaning("no_such_module:f") == ""
    assert meaning("diversity:models/clip") == meaning("diversity") != ""
