"""Fit, distance and structural similarity of single pictures, against exact cases and slow references."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whence import images
from whence.config import SamplerConfig
from whence.credit.behaviours import Context, behaviour
from whence.credit.behaviours.likeness import C1, C2, distances, structural_similarity
from whence.data import Dataset, load
from whence.retraining.measurement import Measurement, MeasurementPlan

DIGITS = load("digits:test")
QUERIES = Dataset(("0/4", "b", "7/2"), DIGITS.pixels[:3], (("(none)",),) * 3, (None,) * 3)
DRAWN = np.array([True, False, True])
CONTEXT = Context(DIGITS, MeasurementPlan((), None, QUERIES, DRAWN, SamplerConfig()), DIGITS.pixels[:0])
PICTURE = arrays(np.uint8, (1, 1, 6, 7), elements=st.integers(0, 255))


def measured(redrawn: np.ndarray) -> Measurement:
    return Measurement(redrawn[:0], np.zeros(0), np.array([0.5, 0.25, 1.0]), redrawn)


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, window by window."""
    places = np.arange(-5, 6)
    weights = np.exp(-(places[:, None] ** 2 + places**2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for x, y in zip(a / 255, b / 255, strict=True):
        x, y = np.pad(x, 5, "symmetric"), np.pad(y, 5, "symmetric")
        for row in range(x.shape[0] - 10):
            for column in range(x.shape[1] - 10):
                u, v = (one[row : row + 11, column : column + 11] for one in (x, y))
                mean_u, mean_v = (weights * u).sum(), (weights * v).sum()
                var_u, var_v = (weights * (u - mean_u) ** 2).sum(), (weights * (v - mean_v) ** 2).sum()
                covariance = (weights * (u - mean_u) * (v - mean_v)).sum()
                above = (2 * mean_u * mean_v + C1) * (2 * covariance + C2)
                found.append(above / ((mean_u**2 + mean_v**2 + C1) * (var_u + var_v + C2)))
    return float(np.mean(found))


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 5, 9), (1, 3, 3), (1, 1, 12), (1, 16, 13)])
def test_structural_similarity_is_that_of_the_obvious_loop(size):
    random = np.random.default_rng(0)
    a = random.integers(0, 256, (3, *size)).astype(np.uint8)
    b = (a * 0.7 + random.integers(0, 70, a.shape)).astype(np.uint8)
    expected = [slow_ssim(x, y) for x, y in zip(a, b, strict=True)]
    assert structural_similarity(a, b) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (255, 255), (0, 255), (100, 200)])
def test_structural_similarity_of_flat_pictures(a, b):
    x, y = a / 255, b / 255
    found = structural_similarity(np.full((1, 1, 8, 8), a, np.uint8), np.full((1, 1, 8, 8), b, np.uint8))
    assert found == pytest.approx([(2 * x * y + C1) / (x * x + y * y + C1)], abs=1e-10)


@given(PICTURE, PICTURE)
def test_structural_similarity_is_symmetric_bounded_and_one_only_for_equal_pictures(a, b):
    (found,) = structural_similarity(a, b)
    assert found == pytest.approx(structural_similarity(b, a)[0], abs=1e-12)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert structural_similarity(a, a)[0] == pytest.approx(1.0, abs=1e-9)
    assert np.array_equal(a, b) or found < 1


@given(PICTURE, PICTURE)
def test_distance_is_that_of_ensembles(a, b):
    x, y = (torch.from_numpy(one.astype(np.float64)) / 127.5 - 1 for one in (a, b))
    assert distances(a, b) == pytest.approx(images.distance(x, y).numpy(), abs=1e-9)


def test_values_of_the_pictures_asked_about():
    same = QUERIES.pixels[DRAWN]
    assert behaviour("fit").prepare(CONTEXT)(measured(same)).tolist() == [-0.5, -0.25, -1.0]
    assert behaviour("distance").prepare(CONTEXT)(measured(same)).tolist() == [0.0, 0.0]
    assert behaviour("ssim").prepare(CONTEXT)(measured(same)) == pytest.approx([1.0, 1.0])
    changed = same.copy()
    changed[1] = 255 - changed[1]
    for name in ("distance", "ssim"):
        before, after = (behaviour(name).prepare(CONTEXT)(measured(one)) for one in (same, changed))
        assert before[0] == after[0]
        assert before[1] > after[1]
