import numpy as np
import pytest

from whence.errors import WhenceError
from whence.statistics.statistic import CHUNK, counted_bootstrap, paired_bootstrap


def mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=(1, 2))


def ratio(values: np.ndarray) -> np.ndarray:
    over, under = values.mean(axis=1).T
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)


@pytest.mark.parametrize("resamples", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_against_a_naive_loop(resamples, level):
    values = np.random.default_rng(5).integers(0, 2, (7, 2)).astype(float)
    found = paired_bootstrap(values, ratio, seed=3, resamples=resamples, level=level)
    source, ratios, undefined = np.random.default_rng(3), [], 0
    for _ in range(resamples):
        rows = [values[n] for n in source.integers(0, 7, 7)]
        over, under = sum(row[0] for row in rows), sum(row[1] for row in rows)
        if under:
            ratios.append(over / under)
        else:
            undefined += 1
    ratios.sort()

    def quantile(q: float) -> float:
        place = q * (len(ratios) - 1)
        below = int(place)
        above = min(below + 1, len(ratios) - 1)
        return ratios[below] + (place - below) * (ratios[above] - ratios[below])

    assert found.low == pytest.approx(quantile((1 - level) / 2))
    assert found.high == pytest.approx(quantile((1 + level) / 2))
    assert (found.undefined, found.resamples, found.level) == (undefined, resamples, level)


def test_rows_stay_together():
    """The difference of two columns that always differ by one has no spread, however the rows are drawn."""
    first = np.random.default_rng(0).normal(size=20)
    found = paired_bootstrap(np.stack([first, first - 1], 1), lambda x: np.diff(x.mean(1))[:, 0], seed=0)
    assert found.low == pytest.approx(-1)
    assert found.high == pytest.approx(-1)


def test_of_one_row_there_is_one_resample():
    found = paired_bootstrap(np.array([[3.0]]), mean, seed=0, resamples=50)
    assert (found.low, found.high) == (3.0, 3.0)


def test_of_two_rows_all_resamples_are_known():
    """0, 1/2 and 1 with probabilities 1/4, 1/2, 1/4."""
    values = np.array([[0.0], [1.0]])
    assert [
        vars(paired_bootstrap(values, mean, seed=0, level=level))[end]
        for level in (0.95, 0.4)
        for end in ("low", "high")
    ] == [0.0, 1.0, 0.5, 0.5]


def test_undefined_resamples_are_counted_and_left_out():
    """One of four rows has a control that agrees: (3/4)^4 of the resamples have none."""
    values = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    found = paired_bootstrap(values, ratio, seed=0, resamples=20_000)
    assert found.undefined / 20_000 == pytest.approx(0.75**4, abs=0.01)
    assert np.isfinite([found.low, found.high]).all()


def test_coverage_of_a_mean():
    """The 90% interval of the mean of 40 normal numbers holds the true mean about 9 times in 10."""
    source = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        found = paired_bootstrap(source.normal(size=(40, 1)), mean, seed=seed, resamples=400, level=0.9)
        held += found.low <= 0 <= found.high
    assert 0.82 <= held / 200 <= 0.96


def test_the_seed_decides():
    values = np.random.default_rng(0).normal(size=(9, 1))
    first, again, other = (paired_bootstrap(values, mean, seed=seed, resamples=99) for seed in (1, 1, 2))
    assert first == again != other


def test_kinds_are_drawn_among_themselves():
    """Rows that are equal within each kind leave no spread, whatever is drawn."""
    kinds = np.array(["b", "a", "b", "a", "a"])
    values = np.where(kinds == "a", 2.0, 7.0)[:, None]
    found = paired_bootstrap(values, mean, seed=0, resamples=CHUNK + 3, strata=kinds)
    assert (found.low, found.high) == (4.0, 4.0)
    alone = paired_bootstrap(np.arange(5.0)[:, None], mean, seed=4, strata=np.zeros(5))
    assert alone == paired_bootstrap(np.arange(5.0)[:, None], mean, seed=4)


@pytest.mark.parametrize("strata", [None, np.array([0, 0, 1, 1, 1, 0, 1])])
def test_counts_are_those_of_the_rows(strata):
    values = np.random.default_rng(5).integers(0, 2, (7, 2)).astype(float)

    def counted(drawn: np.ndarray) -> np.ndarray:
        assert (drawn.sum(1) == 7).all()
        over, under = (drawn @ values).T / 7
        return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)

    found = counted_bootstrap(7, counted, seed=2, resamples=CHUNK + 1, strata=strata)
    assert found == paired_bootstrap(values, ratio, seed=2, resamples=CHUNK + 1, strata=strata)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.zeros((0, 2)), "no sample was measured"), (np.zeros((3, 2)), "undefined in all 10 resamples")],
)
def test_what_can_not_be_resampled(values, message):
    with pytest.raises(WhenceError, match=message):
        paired_bootstrap(values, ratio, seed=0, resamples=10)
