"""Random subsets: sizes, strata, streams."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whence.data import Dataset
from whence.errors import ConfigError
from whence.retraining.subsets import ALL, classes_of, matched_removal, subsets


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_every_subset_keeps_its_share_of_the_whole_and_of_each_class(sizes, fraction, seed):
    classes = [str(c) for c, size in enumerate(sizes) for _ in range(size)]
    total = round(fraction * len(classes))
    assume(0 < total < len(classes))
    kept = subsets(classes, fraction, 3, seed, "test")
    assert (kept.sum(1) == total).all()
    for name, size in Counter(classes).items():
        share = kept[:, [own == name for own in classes]].sum(1)
        assert (int(fraction * size) <= share).all()
        assert (share <= int(fraction * size) + 1).all()


def test_which_class_keeps_the_odd_one_varies():
    kept = subsets(["a"] * 3 + ["b"] * 3, 0.5, 20, 0, "test")
    assert set(kept[:, :3].sum(1)) == {1, 2}


def test_every_example_is_kept_equally_often():
    kept = subsets(["a"] * 20 + ["b"] * 40, 0.5, 400, 0, "test")
    assert np.abs(kept.mean(0) - 0.5).max() < 4 * 0.025


def test_more_subsets_begin_with_the_same():
    classes = ["a", "b"] * 6
    assert np.array_equal(subsets(classes, 0.5, 5, 1, "test")[:3], subsets(classes, 0.5, 3, 1, "test"))


@pytest.mark.parametrize(("seed", "stream"), [(0, "development"), (1, "test")])
def test_another_stream_or_seed_gives_independent_subsets(seed, stream):
    classes = ["a", "b"] * 50
    one, other = subsets(classes, 0.5, 200, 0, "test"), subsets(classes, 0.5, 200, seed, stream)
    assert abs((one & other).mean() - 0.25) < 0.01
    assert not (one == other).all(1).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, 0.04, 0.96, float("nan"), float("inf")])
def test_a_share_that_keeps_or_removes_nothing_is_refused(fraction):
    with pytest.raises(ConfigError, match="leaves nothing to keep or to remove"):
        subsets(["a"] * 10, fraction, 1, 0, "test")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("a", "a", "b", "b"), ("a", "a", "b", "b")),
        (("a", "a", "a", "b"), (ALL,) * 4),
        (("a", "a", None, "a"), (ALL,) * 4),
        ((None,) * 4, (ALL,) * 4),
    ],
)
def test_subsets_are_stratified_where_every_class_is_shared(classes, expected):
    data = Dataset(tuple("wxyz"), np.zeros((4, 1, 2, 2), np.uint8), (("u",),) * 4, (None,) * 4, classes=classes)
    assert classes_of(data) == expected


def test_a_matched_removal_has_the_same_histogram():
    classes = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    removed = np.array([0, 3, 12, 29, 28, 27])
    drawn = [matched_removal(classes, removed, 0, str(k)) for k in range(20)]
    for rows in drawn:
        assert Counter(classes[n] for n in rows) == {"a": 2, "b": 1, "c": 3}
        assert (np.diff(rows) > 0).all()
    assert len({tuple(rows) for rows in drawn}) > 10
    assert np.array_equal(matched_removal(classes, removed, 0, "3"), drawn[3])
