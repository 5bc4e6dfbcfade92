import itertools

import numpy as np
import pytest

from whence.credit.contributors import Contributors
from whence.credit.near_duplicates import Cluster, link_contributors, near_duplicate_clusters
from whence.data import Dataset, load
from whence.errors import ConfigError, MismatchError


def dataset(pixels: np.ndarray, units) -> Dataset:
    count = len(pixels)
    return Dataset(tuple(f"{n:02d}" for n in range(count)), pixels, tuple(units), (None,) * count)


def changed(picture: np.ndarray, by: int) -> np.ndarray:
    """The picture with every pixel `by` levels brighter or darker."""
    return np.where(picture < 128, picture + by, picture - by).astype(np.uint8)


@pytest.fixture(scope="module")
def uploads() -> Dataset:
    """Twelve digits of three contributors; ben has a copy of anna's 00, cleo one that was saved again."""
    pixels = load("digits").pixels[:12].copy()
    pixels[5], pixels[9], pixels[3] = pixels[0], changed(pixels[0], 4), pixels[1]
    return dataset(pixels, [(("anna",), ("ben",), ("cleo",))[n // 4] for n in range(12)])


def test_copies_across_contributors_are_found_and_own_ones_are_not(uploads):
    found = near_duplicate_clusters(uploads, Contributors.of_data(uploads))
    assert found == (Cluster(("00", "05", "09"), ("anna", "ben", "cleo"), pytest.approx(4 / 255)),)


@pytest.mark.parametrize(
    ("near", "examples"), [(0, ("00", "05")), (0.0156, ("00", "05")), (0.0157, ("00", "05", "09"))]
)
def test_the_distance_decides(uploads, near, examples):
    (found,) = near_duplicate_clusters(uploads, Contributors.of_data(uploads), near)
    assert found.examples == examples
    assert found.distance == (0 if len(examples) == 2 else pytest.approx(4 / 255))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1, 1, 1), (3, 2, 9)])
@pytest.mark.parametrize("near", [0.0, 0.1, 0.2, 0.35])
def test_clusters_against_all_pairs(shape, near):
    """Random pictures on a few levels, so that some are the same, some alike; chains join."""
    source = np.random.default_rng(len(shape) + int(100 * near))
    pixels = source.integers(0, 3, (40, *shape)).astype(np.uint8) * 40 + source.integers(0, 60, (40, 1, 1, 1), np.uint8)
    pixels[20:30] = pixels[:10]
    data = dataset(pixels, [(f"u{n % 7}",) for n in range(40)])
    groups = [{n} for n in range(40)]
    for a, b in itertools.combinations(range(40), 2):
        if np.sqrt(np.mean((pixels[a] / 255.0 - pixels[b] / 255.0) ** 2)) <= near + 1e-12:
            one, other = (next(group for group in groups if n in group) for n in (a, b))
            if one is not other:
                groups.remove(other)
                one |= other
    across = [group for group in groups if len({data.units[n] for n in group}) > 1]
    expected = {tuple(data.ids[n] for n in sorted(group)) for group in across}
    found = near_duplicate_clusters(data, Contributors.of_data(data), near)
    assert {one.examples for one in found} == expected
    assert all(set(one.contributors) == {data.units[int(n)][0] for n in one.examples} for one in found)


def test_overlapping_contributors_share_a_picture_without_duplicating_it(uploads):
    pixels = uploads.pixels[[0, 5, 2]]
    together = dataset(pixels, [("anna", "ben"), ("anna", "ben"), ("cleo",)])
    apart = dataset(pixels, [("anna", "free"), ("ben", "free"), ("cleo",)])
    assert near_duplicate_clusters(together, Contributors.of_data(together)) == ()
    (found,) = near_duplicate_clusters(apart, Contributors.of_data(apart))
    assert found.contributors == ("anna", "ben", "free")


@pytest.mark.parametrize(
    ("links", "labels"),
    [
        ([], "abcde"),
        ([("a", "b")], "aacde"),
        ([("b", "d"), ("d", "e")], "abcbb"),
        ([("a", "(none)"), ("b", "(none)")], "abcde"),
    ],
)
def test_contributors_who_share_pictures_are_linked(links, labels):
    names = ("a", "b", "c", "d", "e")
    contributors = Contributors.of([*names, "x"], [*((name,) for name in names), ("(none)",)])
    found = link_contributors(tuple(Cluster(("1", "2"), one, 0.0) for one in links), contributors)
    assert found == (*labels, "(none)")


@pytest.mark.parametrize("near", [-0.1, 1.5, float("nan")])
def test_an_impossible_distance_is_refused(uploads, near):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        near_duplicate_clusters(uploads, Contributors.of_data(uploads), near)


def test_contributors_of_other_examples_are_refused(uploads):
    with pytest.raises(MismatchError, match="other examples"):
        near_duplicate_clusters(uploads.select([0, 1, 2]), Contributors.of_data(uploads))
