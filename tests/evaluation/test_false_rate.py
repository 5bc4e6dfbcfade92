"""The rate from rows made by hand."""

import numpy as np
import pytest

from whence import artefacts
from whence.errors import ArtefactError
from whence.evaluation.false_rate import FalseAttribution, Trial


def row(n: int, stayed: int, *controls: int) -> Trial:
    """A row that stayed or not without its unit, and without each control."""
    names = tuple(f"r{k}" for k in range(len(controls)))
    after = tuple("u" if one else "other" for one in controls)
    return Trial(f"0/{n}", "u", "u" if stayed else "other", names, after)


def result(*rows: tuple[int, ...], seed: int = 0) -> FalseAttribution:
    return FalseAttribution("mine", tuple(row(n, *one) for n, one in enumerate(rows)), seed)


@pytest.mark.parametrize(
    ("rows", "fa", "control", "rate"),
    [
        ([(0, 1)], 0, 1, 0),
        ([(1, 1)], 1, 1, 1),
        ([(1, 0), (0, 1)], 1 / 2, 1 / 2, 1),
        ([(1, 1), (0, 1), (0, 1), (0, 0)], 1 / 4, 3 / 4, 1 / 3),
        ([(1, 0), (1, 0), (1, 1), (0, 0)], 3 / 4, 1 / 4, 3),
        ([(0, 0), (1, 0)], 1 / 2, 0, None),
        ([(1, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 1)], 1 / 2, 1 / 2, 1),
        ([(1, 1, 0, 0), (0, 0, 0, 0)], 1 / 2, 1 / 6, 3),
    ],
)
def test_rates_of_hand_made_rows(rows, fa, control, rate):
    found = result(*rows)
    assert found.fa == pytest.approx(fa)
    assert found.control == pytest.approx(control)
    assert found.rate == (None if rate is None else pytest.approx(rate))
    assert (found.interval is None) == (rate is None)


def test_what_never_follows_has_rate_one_and_what_always_does_zero():
    always, never = result(*[(1, 1)] * 8), result(*[(0, 1)] * 8)
    assert (always.rate, always.interval.low, always.interval.high) == (1, 1, 1)
    assert (never.rate, never.interval.low, never.interval.high) == (0, 0, 0)


def test_the_interval_holds_the_rate_and_narrows_with_more_samples():
    pattern = [(0, 1), (1, 1), (0, 0), (0, 1), (1, 0)]
    few, many = result(*pattern * 2), result(*pattern * 20)
    assert few.rate == many.rate == pytest.approx(2 / 3)
    for found in (few, many):
        assert found.interval.low < found.rate < found.interval.high
    assert many.interval.high - many.interval.low < 0.6 * (few.interval.high - few.interval.low)


def test_resamples_without_a_control_that_agrees_are_counted():
    found = result((1, 0), (0, 1), (0, 0))
    assert found.interval.undefined / found.interval.resamples == pytest.approx((2 / 3) ** 3, abs=0.02)


def test_the_seed_decides_the_interval():
    pattern = [(k % 3 == 0, k % 2) for k in range(30)]
    assert result(*pattern, seed=1).interval == result(*pattern, seed=1).interval
    assert result(*pattern, seed=1).interval != result(*pattern, seed=2).interval


@pytest.mark.parametrize("rows", [[(1, 1), (0, 1)], [(0, 0), (1, 0)], [(1, 1, 0), (0, 0, 1)]])
def test_round_trip(tmp_path, rows):
    written = result(*rows, seed=4).write(tmp_path, {"ensemble": "e" * 64}, {"controls": 1})
    found = FalseAttribution.read(written.path)
    assert found == written
    assert (found.rate, found.interval) == (written.rate, written.interval)
    numbers = artefacts.read_json(written.path / "result.json")
    assert (numbers["fa"], numbers["control"], numbers["rate"]) == (written.fa, written.control, written.rate)
    assert numbers["interval"] == (written.interval and vars(written.interval))


def test_written_again_it_stays_and_another_gets_its_own_place(tmp_path):
    first = result((1, 1), (0, 1)).write(tmp_path, {}, {})
    before = (first.path / "manifest.json").stat().st_mtime_ns
    assert result((1, 1), (0, 1)).write(tmp_path, {}, {}) == first
    assert (first.path / "manifest.json").stat().st_mtime_ns == before
    others = [result((1, 1), (1, 1)).write(tmp_path, {}, {}), result((1, 1), (0, 1), seed=1).write(tmp_path, {}, {})]
    others.append(result((1, 1), (0, 1)).write(tmp_path, {"ensemble": "e"}, {}))
    assert len({one.path for one in [first, *others]}) == 4


@pytest.mark.parametrize("file", ["rows.parquet", "result.json"])
def test_damage_is_noticed(tmp_path, file, flip_byte):
    path = result((1, 1)).write(tmp_path, {}, {}).path
    flip_byte(path / file)
    with pytest.raises(ArtefactError, match=f"{file} is damaged"):
        FalseAttribution.read(path)


def test_numbers_are_plain(tmp_path):
    assert all(type(value) is float for value in (result((1, 1)).fa, result((1, 1)).control))
    assert not isinstance(result((1, 1)).interval.low, np.floating)
