import numpy as np
import pytest
from scipy.stats import linregress

from whence.errors import DataError
from whence.evaluation.prediction.calibration import calibration
from whence.evaluation.prediction.lds import predictions

SUBSETS, EXAMPLES, QUERIES = 40, 30, 6


@pytest.fixture
def world():
    """Subsets, scores and what they predict; the scores are the true effects of leaving out."""
    source = np.random.default_rng(0)
    kept = source.random((SUBSETS, EXAMPLES)) < 0.5
    scores = source.normal(size=(QUERIES, EXAMPLES))
    return kept, scores, predictions(~kept, scores)


@pytest.mark.parametrize("slope", [1.0, 0.25, -2.0])
def test_of_a_linear_model_the_slope_is_known(world, slope):
    """Losses that are a constant of each query plus the sum over what is left out, times the slope."""
    kept, scores, predicted = world
    losses = np.arange(QUERIES) + slope * (~kept @ scores.T)
    found = calibration(predicted, losses)
    assert found.slope.value == pytest.approx(slope)
    assert found.intercept.value == pytest.approx(np.arange(QUERIES).mean())
    assert found.r2.value == pytest.approx(1)
    assert found.query_slope.value == pytest.approx(slope)
    assert found.query_r2.value == pytest.approx(1)
    for one in (found.slope, found.query_slope):
        assert (one.interval.low, one.interval.high) == pytest.approx((slope, slope))


def test_against_regressions_one_by_one(world):
    _, _, predicted = world
    measured = 0.3 * predicted + np.random.default_rng(1).normal(size=predicted.shape)
    found = calibration(predicted, measured)
    lines = [linregress(predicted[:, q], measured[:, q]) for q in range(QUERIES)]
    np.testing.assert_allclose(found.slopes, [line.slope for line in lines])
    np.testing.assert_allclose(found.r2s, [line.rvalue**2 for line in lines])
    assert found.query_slope.value == pytest.approx(np.median(found.slopes))
    assert found.query_r2.value == pytest.approx(found.r2s.mean())
    own = np.repeat(np.eye(QUERIES), SUBSETS, 0)  # a constant for every query
    design = np.column_stack([predicted.T.ravel(), own])
    fitted = np.linalg.lstsq(design, measured.T.ravel(), rcond=None)[0]
    assert found.slope.value == pytest.approx(fitted[0])
    assert found.intercept.value == pytest.approx(fitted[1:].mean())


def test_where_changes_are_measured_from_matters_to_the_intercept_alone(world):
    _, _, predicted = world
    measured = predicted + np.random.default_rng(1).normal(size=predicted.shape)
    first, second = calibration(predicted, measured), calibration(predicted, measured + 10 * np.arange(QUERIES))
    for name in ("slope", "r2", "query_slope", "query_r2"):
        assert getattr(first, name).value == pytest.approx(getattr(second, name).value)
    assert second.intercept.value - first.intercept.value == pytest.approx(25)


def test_r2_has_no_unit(world):
    _, _, predicted = world
    measured = predicted + np.random.default_rng(1).normal(size=predicted.shape)
    first, second = calibration(predicted, measured), calibration(1e-4 * predicted, measured)
    assert second.slope.value == pytest.approx(1e4 * first.slope.value)
    assert second.r2.value == pytest.approx(first.r2.value)
    assert second.r2.interval.low == pytest.approx(first.r2.interval.low)


def test_chance_is_the_mean_over_exchanged_subsets(world):
    _, _, predicted = world
    source = np.random.default_rng(2)
    measured = source.normal(size=(SUBSETS, 2)) @ source.normal(size=(2, QUERIES))  # queries that go together
    found = calibration(predicted, measured)
    x, y = predicted - predicted.mean(0), measured - measured.mean(0)
    orders = [source.permutation(SUBSETS) for _ in range(4000)]
    values = [(x[order] * y).sum() ** 2 / ((x**2).sum() * (y**2).sum()) for order in orders]
    assert np.mean(values) == pytest.approx(found.r2.chance, rel=0.1)
    assert found.query_r2.chance == 1 / (SUBSETS - 1)
    alone = calibration(predicted[:, :1], measured[:, :1])
    assert alone.r2.chance == pytest.approx(1 / (SUBSETS - 1))


def test_intervals_hold_chance_where_there_is_nothing():
    source, held = np.random.default_rng(3), np.zeros(3)
    for _ in range(40):
        predicted, measured = (source.normal(size=(30, 3)) @ source.normal(size=(3, 20)) for _ in range(2))
        found = calibration(predicted, measured)
        for k, one in enumerate((found.slope, found.r2, found.query_r2)):
            held[k] += one.interval.low <= one.chance <= one.interval.high
    assert (held / 40 >= 0.85).all()


def test_a_query_without_predictions():
    """Its slope is undefined and it explains nothing; the others count."""
    predicted = np.stack([np.arange(6.0), np.full(6, 0.1)], 1)
    measured = np.stack([2 * np.arange(6.0), np.arange(6.0)], 1)
    found = calibration(predicted, measured)
    assert np.isnan(found.slopes[1])
    assert found.r2s.tolist() == pytest.approx([1, 0])
    assert (found.query_slope.value, found.query_r2.value) == pytest.approx((2, 0.5))


@pytest.mark.parametrize(
    ("predicted", "measured", "message"),
    [
        (np.ones((5, 2)), np.arange(10.0).reshape(5, 2), "nothing can be compared"),
        (np.arange(10.0).reshape(5, 2), np.ones((5, 2)), "nothing can be compared"),
        (np.full((5, 2), 0.1) + 1e-12 * np.arange(10).reshape(5, 2), np.arange(10.0).reshape(5, 2), "nothing can be"),
        (np.ones((5, 2)), np.ones((4, 2)), "the same queries and at least 3 subsets"),
        (np.ones((2, 2)), np.ones((2, 2)), "at least 3 subsets"),
        (np.ones((5, 0)), np.ones((5, 0)), "at least 3 subsets"),
        (np.full((5, 2), np.inf), np.ones((5, 2)), "not finite"),
    ],
)
def test_nothing_to_compare(predicted, measured, message):
    with pytest.raises(DataError, match=message):
        calibration(predicted, measured)
