import numpy as np
import pytest

from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.credit.why_not import ABOVE, EXAMPLES, why_not
from whence.data import load
from whence.errors import DataError, MismatchError
from whence.similarity.attributors import pixel

NAMES = ("a", "b", "c", "d", "(none)")
EXPLAINED = (
    Explained("diversity", "Diversity", "bits", None, 1.0, 3.0),
    Explained("fit 0/1", "Fit of 0/1", "loss", "0/1", 0.0, 1.0),
    Explained("fit 0/2", "Fit of 0/2", "loss", "0/2", 0.0, 1.0),
    Explained("distance 0/2", "Distance of 0/2", "distance", "0/2", 0.0, 1.0),
)
SHARES = np.array([[5.0, 3.0, -1.0, 3.0, 0.5], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [0, 0, 0, 0, 0]])


def make(replicates: np.ndarray | None = None, examples=(("1",), ("2",), ("3",), ("4",), ("5",))) -> Credit:
    return Credit("shapley", True, NAMES, examples, EXPLAINED, SHARES, replicates, {})


def scattered() -> np.ndarray:
    """Replicates in which a large error that all contributors share hides their differences from single intervals."""
    source = np.random.default_rng(0)
    common, own = source.normal(size=(1000, 4, 1)) * 10, source.normal(size=(1000, 4, 5)) * 0.1
    own[:, :, 3] *= 50
    return (SHARES + common + own).astype(np.float32)


@pytest.mark.parametrize(
    ("about", "unit", "rank", "above"),
    [
        ("diversity", "a", 1, []),
        ("diversity", "b", 2, ["a"]),
        ("diversity", "d", 2, ["a"]),
        ("diversity", "c", 5, ["(none)", "b", "d", "a"]),
        ("fit 0/1", "a", 5, ["b", "c", "d", "(none)"]),
        ("0/1", "c", 3, ["d", "(none)"]),
        ("distance 0/2", "c", 1, []),
    ],
)
def test_ranks_and_those_above(about, unit, rank, above):
    found = why_not(make(), unit, about)
    assert (found.rank, found.of, [one.unit for one in found.above]) == (rank, 5, above)
    assert found.share == SHARES[[one.name for one in EXPLAINED].index(found.explained.name), NAMES.index(unit)]
    for one in found.above:
        assert one.ahead == one.share - found.share > 0
        assert (one.low, one.high, one.sure) == (None, None, None)
    assert found.could_be_nothing is None


def test_only_the_nearest_of_those_above_are_told():
    count = ABOVE + 4
    names, shares = tuple(f"u{n}" for n in range(count)), np.arange(count, dtype=float)[None]
    credit = Credit("banzhaf", False, names, ((),) * count, EXPLAINED[:1], shares, None, {})
    found = why_not(credit, "u0")
    assert found.rank == count
    assert [one.unit for one in found.above] == [f"u{n}" for n in range(1, ABOVE + 1)]


def test_differences_have_the_interval_of_both_shares_together():
    credit = make(scattered())
    found = why_not(credit, "b", "diversity")
    assert found.could_be_nothing
    assert (found.low, found.high) == (credit.low[0, 1], credit.high[0, 1])
    (first,) = found.above
    width = 1.96 * np.sqrt(2) * 0.1
    assert (first.low, first.high) == (pytest.approx(2 - width, rel=0.05), pytest.approx(2 + width, rel=0.05))
    assert first.sure, "the common error cancels, though both intervals contain zero"
    unsure = {one.unit: one.sure for one in why_not(credit, "c", "fit 0/1").above}
    assert unsure == {"d": False, "(none)": True}


@pytest.mark.parametrize(("middle", "nothing"), [(0.0, True), (3.0, False), (-3.0, False)])
def test_an_interval_that_contains_zero_is_said_so(middle, nothing):
    replicates = np.full((100, 4, 5), middle, np.float32) + np.linspace(-1, 1, 100, dtype=np.float32)[:, None, None]
    assert why_not(make(replicates), "a", "diversity").could_be_nothing is nothing


@pytest.mark.parametrize(
    ("unit", "about", "message"),
    [
        ("z", "diversity", "no contributor 'z'.*a, b, c"),
        ("a", "beauty", "Nothing called 'beauty'"),
        ("a", "9/9", "Nothing called '9/9'"),
        ("a", "0/2", "'0/2', several.*: fit 0/2, distance 0/2"),
        ("a", None, "Several behaviours.*diversity, fit 0/1"),
    ],
)
def test_what_is_not_there_is_refused(unit, about, message):
    with pytest.raises(DataError, match=message):
        why_not(make(), unit, about)


def test_examples_most_alike_against_a_loop():
    data = load("digits").select(range(40))
    contributors = Contributors.of(data.ids, [(NAMES[n % 4],) for n in range(40)])
    query = load("digits:test")
    credit = Credit("shapley", True, contributors.names, contributors.owned, EXPLAINED[:2], SHARES[:2, :4], None, {})
    likeness = pixel(query.images([7]), ["0/1"], data)
    found = why_not(credit, "b", "0/1", likeness)
    own = range(1, 40, 4)
    distances = [float(np.linalg.norm(data.pixels[n] / 255.0 - query.pixels[7] / 255.0)) for n in own]
    expected = sorted(zip(distances, own, strict=True))[:EXAMPLES]
    assert [example for example, _ in found.examples] == [data.ids[n] for _, n in expected]
    assert [-score for _, score in found.examples] == pytest.approx([distance for distance, _ in expected], rel=1e-5)
    assert found.method == "pixel"
    with pytest.raises(DataError, match="'diversity' is of the model"):
        why_not(credit, "b", "diversity", likeness)
    with pytest.raises(MismatchError, match="all 1 examples"):
        why_not(make(), "b", "0/1", likeness)
