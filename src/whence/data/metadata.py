"""The table beside the images of a folder: ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet``."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from whence.errors import DataError

FILE_COLUMN = "file_name"

Row = dict[str, object]
"""One row: a value for every column; None where the file has none."""


def find_metadata(folder: Path) -> Path | None:
    """Return the metadata file that lies directly in `folder`, or None.

    Raises:
        DataError: There are several.
    """
    files = [folder / name for name in METADATA_FILES if (folder / name).is_file()]
    if len(files) > 1:
        raise DataError(f"{folder} has {' and '.join(file.name for file in files)}. Keep one of them.")
    return files[0] if files else None


def read_metadata(path: Path) -> list[Row]:
    """Read a metadata file.

    Returns:
        Its rows; all have the same columns, and ``file_name`` is text.

    Raises:
        DataError: The file is malformed, or a row has no file name.
    """
    rows = METADATA_FILES[path.name](path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if rows and FILE_COLUMN not in columns:
        raise DataError(f"{path} has no column {FILE_COLUMN!r}; it has {', '.join(columns)}.")
    for number, row in enumerate(rows, start=1):
        name = row.get(FILE_COLUMN)
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: row {number} has no {FILE_COLUMN}.")
    return [{name: row.get(name) for name in columns} for row in rows]


def _read_csv(path: Path) -> list[Row]:
    """Return the rows of a table with a header line.

    Raises:
        DataError: A row is longer or shorter than the header, a column occurs twice, or quotes
            don't match.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        repeated = [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]
        if repeated:
            raise DataError(f"{path} has the column {repeated[0]!r} twice.")
        for row in reader:
            if None in row or None in row.values():
                columns = len(reader.fieldnames or ())
                raise DataError(f"{path}, line {reader.line_num}: the row doesn't have {columns} values.")
            rows.append(dict(row))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.reader.line_num}: {error}.") from None
    return rows


def _read_jsonl(path: Path) -> list[Row]:
    """Return the rows of a file with one JSON object per line.

    Raises:
        DataError: A line is something else.
    """
    rows: list[Row] = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number} is not JSON: {error}.") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number} is not a JSON object.")
            rows.append(row)
    return rows


def _read_parquet(path: Path) -> list[Row]:
    """Return the rows of a Parquet file.

    Raises:
        DataError: It is not one.
    """
    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}. Save it as UTF-8.") from None


METADATA_FILES: dict[str, Callable[[Path], list[Row]]] = {
    "metadata.csv": _read_csv,
    "metadata.jsonl": _read_jsonl,
    "metadata.parquet": _read_parquet,
}
"""The reader of each kind of metadata file."""
