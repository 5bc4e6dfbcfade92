import numpy as np
import pytest
from scipy.stats import spearmanr

from whence.errors import DataError
from whence.statistics.correlations import draw_resamples
from whence.statistics.ranks import resampled_spearman, spearman_columns


def naive(a: np.ndarray, b: np.ndarray) -> float:
    """By scipy, of rows that are really copied."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else np.nan


def columns(kind: str, subsets: int, queries: int = 7) -> np.ndarray:
    source = np.random.default_rng(4)
    a = source.normal(size=(2, subsets, queries))
    a[1] += a[0]
    return {"normal": a, "ties": np.round(a), "huge": a * 1e300, "tiny": a * 1e-300, "near": 1 + a * 1e-12}[kind]


@pytest.mark.parametrize("subsets", [2, 3, 24, 65])
@pytest.mark.parametrize("kind", ["normal", "ties", "huge", "tiny", "near"])
def test_against_scipy(kind, subsets):
    a, b = columns(kind, subsets)
    expected = [naive(x, y) for x, y in zip(a.T, b.T, strict=True)]
    np.testing.assert_allclose(spearman_columns(a, b), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("subsets", [2, 3, 24, 65])
@pytest.mark.parametrize("kind", ["normal", "ties", "huge"])
def test_resamples_against_scipy_on_copied_rows(kind, subsets):
    a, b = columns(kind, subsets)
    counts = draw_resamples(subsets, seed=1, resamples=10)
    found = resampled_spearman(a, b, counts)
    for i, drawn in enumerate(counts):
        rows = np.repeat(np.arange(subsets), drawn)
        expected = [naive(a[rows, q], b[rows, q]) for q in range(a.shape[1])]
        np.testing.assert_allclose(found[:, i], expected, rtol=0, atol=1e-6)


def test_every_row_once_is_no_resample():
    a, b = columns("ties", 40)
    np.testing.assert_allclose(resampled_spearman(a, b, np.ones((1, 40)))[:, 0], spearman_columns(a, b), atol=1e-12)


@pytest.mark.parametrize("change", [lambda x: 3 * x + 7, np.exp, lambda x: x**3], ids=["linear", "exp", "cube"])
def test_only_the_order_matters(change):
    a, b = columns("normal", 30)
    np.testing.assert_array_equal(spearman_columns(change(a), b), spearman_columns(a, b))
    counts = draw_resamples(30, seed=0, resamples=20)
    np.testing.assert_array_equal(resampled_spearman(change(a), b, counts), resampled_spearman(a, b, counts))


def test_the_same_order_is_exactly_one_and_the_reverse_minus_one():
    a, _ = columns("ties", 1000)
    counts = draw_resamples(1000, seed=0, resamples=5)
    assert (spearman_columns(a, a) == 1).all()
    assert (spearman_columns(a, -a) == -1).all()
    assert (resampled_spearman(a, a, counts) == 1).all()
    assert (resampled_spearman(a, -a, counts) == -1).all()


def test_a_constant_column_has_no_correlation():
    a, b = columns("normal", 10)
    a[:, 2], b[:, 4] = 3.0, 0.0
    assert np.flatnonzero(np.isnan(spearman_columns(a, b))).tolist() == [2, 4]
    assert np.flatnonzero(np.isnan(resampled_spearman(a, b, draw_resamples(10, seed=0))).all(1)).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((1, 3)), np.ones((1, 3))),
        (np.ones((4, 3)), np.ones((4, 2))),
        (np.ones(4), np.ones(4)),
        (np.full((4, 1), np.nan), np.ones((4, 1))),
        (np.ones((4, 1)), np.full((4, 1), np.inf)),
    ],
    ids=["one row", "other shape", "flat", "NaN", "infinite"],
)
def test_what_has_no_ranks_is_refused(a, b):
    with pytest.raises(DataError):
        spearman_columns(a, b)
    with pytest.raises(DataError):
        resampled_spearman(a, b, np.ones((2, len(a))))
