"""Columns that are read group by group, and files by their numbers."""

import pytest

from whence import artefacts
from whence.artefacts import tables
from whence.errors import ArtefactError

NAMES = [f"{n:03d}" for n in range(50)]


@pytest.fixture
def column(tmp_path, monkeypatch) -> artefacts.TextColumn:
    monkeypatch.setattr(tables, "GROUP", 8)
    artefacts.write_table(tmp_path / "x.parquet", {"id": NAMES, "other": list(range(50))})
    return artefacts.TextColumn(tmp_path / "x.parquet", "id")


def test_a_column_is_like_the_list_that_was_written(column):
    assert list(column) == NAMES == artefacts.read_table(column.path)["id"]
    assert len(column) == 50
    for part in (
        slice(None),
        slice(3, 30),
        slice(1, None, 7),
        slice(-5, None),
        slice(60, 70),
        slice(40, 3),
        slice(30, 3, -2),
        slice(8, 8),
    ):
        assert column[part] == NAMES[part]
    assert [column[0], column[17], column[-1]] == [NAMES[0], NAMES[17], NAMES[-1]]
    with pytest.raises(IndexError):
        column[50]


def test_a_column_that_cannot_be_read_is_an_artefact_error(column):
    with pytest.raises(ArtefactError, match="damaged"):
        list(artefacts.TextColumn(column.path, "nothing"))
    column.path.write_bytes(column.path.read_bytes()[:-10])
    with pytest.raises(ArtefactError, match="damaged"):
        list(column)
    column.path.unlink()
    with pytest.raises(ArtefactError, match="does not exist"):
        list(column)


def test_files_are_in_the_order_of_their_numbers(tmp_path):
    numbers = [100_000, 99_999, 10_000, 2]
    for number in numbers:
        artefacts.numbered_file(tmp_path, number).touch()
    assert [int(file.stem) for file in artefacts.numbered_files(tmp_path)] == sorted(numbers)
