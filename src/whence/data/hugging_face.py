"""Hugging Face data sets on disk: saved with ``save_to_disk``, or Parquet files.

Nothing is downloaded, nothing is written, and no code of the data set is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from whence.data.columns import rename, required_texts
from whence.data.dataset import Dataset
from whence.data.files import list_files
from whence.data.metadata import is_metadata
from whence.data.other_files import left_out
from whence.data.raw_examples import RawExamples
from whence.data.read_options import ReadOptions
from whence.data.shards import class_names, features_of, open_shards
from whence.data.splits import CANONICAL, DEFAULT, canonical, choose
from whence.errors import DataError, WhenceError, join_names
from whence.lazy import pyarrow_dataset

_IMAGE = "image"
_ROWS_AT_ONCE = 64
_SPLIT = re.compile(rf"({'|'.join(CANONICAL)})(?![A-Za-z0-9])", re.IGNORECASE)


def is_saved(path: Path) -> bool:
    """Whether ``datasets`` saved a data set, or several splits, in this folder."""
    single = (path / "dataset_info.json").is_file() and (path / "state.json").is_file()
    return single or (path / "dataset_dict.json").is_file()


def parquet_files(path: Path) -> list[Path]:
    """The Parquet files below a folder, or the file itself; metadata of image folders doesn't count."""
    if path.is_file():
        return [path]
    files = [path / name for name in list_files(path, path) if name.lower().endswith(".parquet")]
    return [file for file in files if not is_metadata(file.name)]


def read_saved(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return what ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.

    Raises:
        DataError: It can't be read, has no such split, or no image column.
    """
    import datasets  # takes seconds, which other data sets needn't wait for

    try:
        saved = datasets.load_from_disk(str(path))
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a saved data set: {error}") from None
    splits = dict(saved) if isinstance(saved, datasets.DatasetDict) else {str(saved.split or DEFAULT): saved}
    examples = choose(splits, split, str(path))
    with _arrow_errors(path):
        rows = pyarrow_dataset.dataset(examples.with_format("arrow")[:])
        return _read(Table(rows, examples.features.to_dict(), str(path)), options)


def read_parquet(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return the rows of a Parquet file, or of the files of one split in a folder, in that order.

    Raises:
        DataError: It can't be read, has no such split, or no image column.
    """
    files = choose(_files_by_split(path), split, str(path))
    with _arrow_errors(path):
        rows = open_shards(files)
        return _read(Table(rows, features_of(rows.schema), str(path)), options, _other_notes(path))


def _other_notes(path: Path) -> tuple[str, ...]:
    """A note on the files of a folder that are no Parquet files."""
    used = {file.relative_to(path).as_posix() for file in parquet_files(path)} if path.is_dir() else set()
    return left_out([name for name in list_files(path, path) if name not in used]) if used else ()


@contextmanager
def _arrow_errors(path: Path) -> Iterator[None]:
    """Turn errors of Arrow and of the file system into a `DataError`."""
    try:
        yield
    except WhenceError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: damage that shows in names or counts
        raise DataError(
            f"{path} cannot be read: {error}. Write the values of a column with one type in all files, and restore "
            "files that are damaged."
        ) from None


def _files_by_split(path: Path) -> dict[str, Sequence[Path]]:
    """Return the Parquet files of each split: ``train-00000.parquet``, ``train/00000.parquet``.

    Raises:
        DataError: Some files name their split and some don't, or two names stand for one split.
    """
    by_split: dict[str, list[Path]] = {}
    spelled: dict[str, str] = {}
    unnamed: list[Path] = []
    for file in parquet_files(path):
        parts = file.relative_to(path).parts if file != path else (file.name,)
        names = [match[1] for match in map(_SPLIT.match, reversed(parts)) if match]
        if not names:
            unnamed.append(file)
            continue
        split = canonical(names[0])
        if spelled.setdefault(split, names[0]) != names[0]:
            raise DataError(f"{path} has {spelled[split]} and {names[0]} for one split. Keep one of them.")
        by_split.setdefault(split, []).append(file)
    if by_split and unnamed:
        raise DataError(
            f"{path} has files for {', '.join(by_split)} and others whose names tell no split: "
            f"{join_names([file.name for file in unnamed])}. Name them like train-0.parquet."
        )
    return {**by_split} or {DEFAULT: unnamed}


def _read(table: Table, options: ReadOptions, notes: tuple[str, ...] = ()) -> Dataset:
    """Return the data set of a table: ids from its column ``id``, or else row numbers.

    Raises:
        DataError: There is no image column, a row has no id or no image.
    """
    rows = [str(row) for row in range(table.count)]
    names = [f"{table.where}, row {row}" for row in rows]
    ids = required_texts(table["id"], [f"row {row}" for row in rows], "id", table.where) if "id" in table else rows
    return RawExamples(ids, names, Images(table), table, table.class_columns, notes=notes).dataset(options)


class Table(Mapping[str, list[object]]):
    """A table on disk as columns by name. A column is read when it is used; class numbers become their names.

    Attributes:
        rows: The table itself.
        features: The features of the columns, as Hugging Face's ``datasets`` declares them.
        where: What messages call it.
    """

    def __init__(self, rows: pyarrow_dataset.Dataset, features: Mapping[str, Any], where: str) -> None:
        self.rows = rows
        self.features = features
        self.where = where
        self._names = rename(rows.schema.names, where)

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self.rows.count_rows())

    @property
    def image_column(self) -> str:
        """The name of the one column of images, or of the one called ``image``.

        Raises:
            DataError: There is none, or there are several of other names.
        """
        images = [name for name in self._names.values() if _is_image(self.features.get(name))]
        if _IMAGE in self._names or len(images) == 1:
            return self._names[_IMAGE] if _IMAGE in self._names else images[0]
        reason = "has no image column" if not images else "has several image columns"
        raise DataError(f"{self.where} {reason}; it has {', '.join(self._names)}. Name one of them {_IMAGE!r}.")

    @property
    def class_columns(self) -> set[str]:
        """The names of the columns whose values are numbers of classes."""
        return {name for name, there in self._names.items() if class_names(self.features.get(there))}

    def __iter__(self) -> Iterator[str]:
        return (name for name, there in self._names.items() if there != self.image_column)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> list[object]:
        if name not in self:
            raise KeyError(name)
        values: list[object] = self.rows.to_table(columns=[self._names[name]]).column(0).to_pylist()
        names = class_names(self.features.get(self._names[name]))
        return [_class_name(value, names) for value in values] if names else values


class Images:
    """The images of a table, row by row. They can be read again; a few are in memory at a time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._column = table.image_column

    def __iter__(self) -> Iterator[bytes]:
        batches = self._table.rows.to_batches(
            columns=[self._column], batch_size=_ROWS_AT_ONCE, batch_readahead=1, fragment_readahead=1
        )
        values = (value.as_py() for batch in batches for value in batch.column(0))
        for row, value in enumerate(values):
            image = value.get("bytes") if isinstance(value, dict) else value
            if not isinstance(image, bytes):
                raise DataError(
                    f"{self._table.where}, row {row}: the column {self._column!r} holds no image bytes. "
                    "Save the data set with its images in it."
                )
            yield image


def _is_image(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "Image"


def _class_name(value: Any, names: list[str]) -> object:
    """The name of a class number, or of each in a list; `datasets` writes -1 where the class is not known."""
    if isinstance(value, list):
        return [_class_name(entry, names) for entry in value]
    whole = isinstance(value, int | float) and 0 <= value < len(names) and value % 1 == 0
    return names[int(value)] if whole else None
