"""Data at addresses of fsspec, in its file systems of memory and of this machine."""

import io
import json
import tarfile

import fsspec
import pytest
from datasets import Dataset as Table
from datasets import Image

from whence.data import load
from whence.errors import DataError


def encoded(image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path, picture):
    """A folder with two tars, and one with two Parquet files."""
    for shard in range(2):
        path = tmp_path / "tars" / f"0{shard}.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as file:
            for n in range(3):
                members = {"png": encoded(picture(3 * shard + n)), "txt": f"picture {n}".encode()}
                members["json"] = json.dumps({"artist": f"artist {shard}"}).encode()
                for ending, data in members.items():
                    header = tarfile.TarInfo(f"{shard}{n}.{ending}")
                    header.size = len(data)
                    file.addfile(header, io.BytesIO(data))
        rows = {"image": [{"bytes": encoded(picture(n)), "path": None} for n in range(3)], "text": list("abc")}
        (tmp_path / "rows").mkdir(exist_ok=True)
        Table.from_dict(rows).cast_column("image", Image()).to_parquet(tmp_path / "rows" / f"train-0{shard}.parquet")
    return tmp_path


@pytest.fixture(params=["memory", "file"])
def address(request, folder):
    """The address of a copy of the folder."""
    if request.param == "file":
        yield f"file://{folder}"
        return
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/data", recursive=True)
    yield "memory://data"
    memory.rm("/data", recursive=True)


NAMES = ["tars", "tars/{00..01}.tar", "tars/01.tar", "rows", "rows/train-01.parquet", "rows:train"]


@pytest.mark.parametrize("name", NAMES)
def test_data_at_an_address_are_those_on_this_machine(folder, address, name):
    here, there = load(f"{folder}/{name}"), load(f"{address}/{name}")
    assert there.fingerprint == here.fingerprint
    assert (there.captions, there.notes) == (here.captions, here.notes)


def test_units_and_size_at_an_address(folder, address):
    options = {"unit_column": "artist", "resolution": 4}
    here, there = (load(f"{place}/tars", **options) for place in (folder, address))
    assert there.unit_ids == here.unit_ids == ("artist 0", "artist 1")
    assert there.fingerprint == here.fingerprint


def test_a_damaged_tar_at_an_address_is_named_and_the_rest_goes_on(folder, tmp_path):
    whole = (folder / "tars" / "01.tar").read_bytes()
    memory = fsspec.filesystem("memory")
    memory.pipe("/cut/00.tar", (folder / "tars" / "00.tar").read_bytes())
    memory.pipe("/cut/01.tar", whole[: len(whole) // 2])
    data = load("memory://cut")
    assert 3 < len(data) < 6
    assert any("01.tar" in note for note in data.notes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("memory://nowhere/0.tar", "does not exist"),
        ("memory://data/tars/{00..03}.tar", "stands for 4 tars, and 4 are not there"),
        ("no-such-kind://a/0.tar", "can't be opened"),
        ("memory://text/a.txt", "neither tars nor Parquet files"),
    ],
)
def test_what_is_not_there_is_refused(name, message):
    fsspec.filesystem("memory").pipe("/text/a.txt", b"text")
    with pytest.raises(DataError, match=message):
        load(name)


def test_an_address_is_not_split_at_its_colon(address):
    with pytest.raises(DataError, match="test"):
        load(f"{address}/rows:test")
