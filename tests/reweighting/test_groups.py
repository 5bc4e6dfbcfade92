import numpy as np
import pytest

from whence.data import load
from whence.errors import DataError
from whence.reweighting.groups import GroupedPictures


@pytest.fixture(scope="module")
def digits():
    return load("digits:test")


@pytest.mark.parametrize("by", ["label", None])
def test_halves_share_no_picture_and_have_half_of_every_group(digits, by):
    whole = GroupedPictures.of(digits, by)
    choose, check = whole.halves(0)
    assert not set(choose.pictures.ids) & set(check.pictures.ids)
    assert {*choose.pictures.ids, *check.pictures.ids} == set(digits.ids)
    for name, rows in whole.rows.items():
        assert len(choose.rows[name]) == len(rows) // 2
        for half in (choose, check):
            of_group = {half.pictures.ids[row] for row in half.rows[name]}
            assert of_group <= {digits.ids[row] for row in rows}


def test_groups_by_unit_may_share_pictures(digits):
    units = tuple(("even",) if n % 2 else ("odd", "third") if n % 3 else ("odd",) for n in range(len(digits)))
    choose, check = GroupedPictures.of(digits.with_fields(units=units), "unit").halves(0)
    assert list(choose.rows) == ["even", "odd", "third"]
    assert not set(choose.pictures.ids) & set(check.pictures.ids)
    for half in (choose, check):
        assert all("third" in half.pictures.units[row] for row in half.rows["third"])


def test_shares_add_up(digits):
    grouped = GroupedPictures.of(digits, "label")
    assert grouped.shares.sum() == pytest.approx(1)
    assert grouped.shares[0] == pytest.approx(np.mean([name == "0" for name in digits.classes]))


def test_what_is_refused(digits):
    with pytest.raises(DataError, match="is not known"):
        GroupedPictures.of(digits.with_fields(classes=(None,) * len(digits)), "label")
    with pytest.raises(DataError, match="has one held-out picture"):
        GroupedPictures.of(digits, "unit")
