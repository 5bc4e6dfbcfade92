"""Hugging Face data sets on disk: saved with ``save_to_disk``, or Parquet files.

Nothing is fetched from a network, nothing is written, no code of the data set is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads

from whence.data.build import Found, Options, build
from whence.data.columns import as_text, captions_of
from whence.data.dataset import Dataset
from whence.data.files import list_files
from whence.data.metadata import METADATA_FILES
from whence.data.splits import CANONICAL, DEFAULT, choose
from whence.data.stack import shorten
from whence.data.table import Images, Table
from whence.errors import DataError

_SPLIT = re.compile(rf"({'|'.join(CANONICAL)})(?![A-Za-z0-9])")


def was_saved(path: Path) -> bool:
    """Whether ``datasets`` saved a data set, or several splits, in this folder."""
    single = (path / "dataset_info.json").is_file() and (path / "state.json").is_file()
    return single or (path / "dataset_dict.json").is_file()


def parquet_files(path: Path) -> list[Path]:
    """The Parquet files below a folder, or the file itself; metadata of image folders doesn't count."""
    if path.is_file():
        return [path]
    files = [path / name for name in list_files(path, path) if name.endswith(".parquet")]
    return [file for file in files if file.name not in METADATA_FILES]


def read_saved(path: Path, split: str | None, options: Options) -> Dataset:
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
    chosen = choose(splits, split, str(path))
    with _readable(path):
        rows = pads.dataset(chosen.with_format("arrow")[:])
        return _read(Table(rows, chosen.features.to_dict(), str(path)), options)


def read_parquet(path: Path, split: str | None, options: Options) -> Dataset:
    """Return the rows of a Parquet file, or of the files of one split in a folder, in that order.

    Raises:
        DataError: It can't be read, has no such split, or no image column.
    """
    files = choose(_files_by_split(path), split, str(path))
    with _readable(path):
        rows = pads.dataset([str(file) for file in files], format="parquet")
        return _read(Table.of_parquet(rows, str(path)), options)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _files_by_split(path: Path) -> dict[str, Sequence[Path]]:
    """Return the Parquet files of each split: ``train-00000.parquet``, ``train/00000.parquet``.

    Raises:
        DataError: Some files name their split and some don't.
    """
    found: dict[str, list[Path]] = {}
    unnamed: list[Path] = []
    for file in parquet_files(path):
        parts = file.relative_to(path).parts if file != path else (file.name,)
        named = [match[1] for match in map(_SPLIT.match, reversed(parts)) if match]
        found.setdefault(CANONICAL[named[0]], []).append(file) if named else unnamed.append(file)
    if found and unnamed:
        raise DataError(
            f"{path} has files for {', '.join(found)} and others whose names tell no split: "
            f"{shorten([file.name for file in unnamed])}. Name them like train-0.parquet."
        )
    return {**found} or {DEFAULT: unnamed}


def _read(table: Table, options: Options) -> Dataset:
    """Return the data set of a table: ids from its column ``id``, or else row numbers.

    Raises:
        DataError: There is no image column, a row has no id or no image.
    """
    names = [f"{table.where}, row {row}" for row in range(table.count)]
    ids = [str(row) for row in range(len(names))]
    if "id" in table:
        given = [as_text(value, row, "id") for value, row in zip(table["id"], ids, strict=True)]
        if None in given:
            raise DataError(f"{table.where}: row {given.index(None)} has no value in the column 'id'.")
        ids = [str(own) for own in given]
    found = Found(ids=ids, names=names, sources=Images(table), captions=captions_of(ids, table), columns=table)
    return build(found, options)
