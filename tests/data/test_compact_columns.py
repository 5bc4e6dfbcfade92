"""What a data set of many images holds for each of them: units and fingerprints in few bytes or none."""

import os
import pickle

import numpy as np
import pytest

from whence import artefacts
from whence.data import Dataset, fingerprints, read, write
from whence.data.fingerprints import Fingerprints
from whence.data.own_units import OwnUnits
from whence.errors import DataError

HEX = [artefacts.digest(str(n)) for n in range(6)] * 2


def pictures(units, ids=("a", "b", "e\u0301")) -> Dataset:
    return Dataset(ids, np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), units, (None, "x", None))


@pytest.mark.parametrize(
    "units", [OwnUnits(("a", "b", "e\u0301")), (("a",), ("b",), ("\u00e9",)), [["a"], ["b"], ["e\u0301"]]]
)
def test_units_that_are_the_ids_are_not_held(units, tmp_path):
    data = pictures(units)
    assert isinstance(data.units, OwnUnits)
    assert data.units == (("a",), ("b",), ("\u00e9",))
    assert data.fingerprint == pictures((("b",),) * 3).with_fields(units=data.units).fingerprint
    assert data.examples_of("\u00e9").tolist() == [2]
    write(data, tmp_path / "data")
    assert isinstance(read(tmp_path / "data").units, OwnUnits)


def test_other_units_are_held():
    units = (("a",), ("a", "b"), ("e",))
    assert pictures(units).units == units
    assert pictures(units).units != pictures(OwnUnits(("a", "b", "e\u0301"))).units


def test_other_ids_leave_the_units_as_they_are():
    data = pictures(OwnUnits(("a", "b", "e\u0301")))
    renamed = data.with_fields(ids=("x", "b", "y"))
    assert renamed.units == (("a",), ("b",), ("\u00e9",))
    assert renamed.ungrouped.units == (("x",), ("b",), ("y",))


def test_own_units_are_like_a_tuple_of_tuples():
    own, whole = OwnUnits(("a", "b", "c")), (("a",), ("b",), ("c",))
    assert (own, list(own), own[1:], own[-1], len(own), hash(own), repr(own)) == (
        whole, list(whole), whole[1:], whole[-1], 3, hash(whole), repr(whole),
    )  # fmt: skip
    assert own == OwnUnits(("a", "b", "c"))
    assert own != whole[:2]
    assert own != OwnUnits(("a", "b"))
    assert own != (["x"], ["b"], ["c"])
    assert artefacts.digest(own) == artefacts.digest(whole)
    assert pickle.loads(pickle.dumps(own)) == whole


@pytest.fixture(params=[2**20, 64], ids=["in memory", "in a temporary file"])
def prints(request, monkeypatch) -> Fingerprints:
    monkeypatch.setattr(fingerprints, "LARGE", request.param)
    return Fingerprints.of(HEX)


def test_fingerprints_are_those_that_were_given(prints):
    assert list(prints) == HEX
    assert (prints[-1], prints[2:5], len(prints)) == (HEX[-1], HEX[2:5], len(HEX))
    assert prints == tuple(HEX)
    assert prints == Fingerprints.of(HEX)
    assert prints != Fingerprints.of(HEX[:-1])
    assert [group.tolist() for group in prints.repeated()] == [[n, n + 6] for n in range(6)]
    assert pickle.loads(pickle.dumps(prints)) == prints


@pytest.mark.parametrize("buffering", [0, -1])
def test_fingerprints_that_do_not_fit_on_the_disk_are_an_error(monkeypatch, buffering):
    def full(_most):
        return os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering)

    monkeypatch.setattr(fingerprints, "LARGE", 64)
    monkeypatch.setattr(fingerprints.tempfile, "SpooledTemporaryFile", full)
    with pytest.raises(DataError, match="The fingerprints of the images don't fit into a temporary file in .*TMPDIR"):
        Fingerprints.of(HEX)
