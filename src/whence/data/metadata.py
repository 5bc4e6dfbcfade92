"""The table beside the images of a folder: ``metadata.csv``, ``.tsv``, ``.jsonl``, ``.json`` or ``.parquet``."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from whence.data.columns import rename
from whence.errors import DataError, join_names

FILE_COLUMN = "file_name"

Row = dict[str, object]
"""One row: a value for every column; None where the file has none."""


def is_metadata(name: str) -> bool:
    """Return whether a file of this name is a metadata file, in lower or upper case."""
    return name.lower() in METADATA_FILES


def find_metadata(folder: Path) -> Path | None:
    """Return the metadata file that lies directly in `folder`, or None.

    Raises:
        DataError: There are several.
    """
    files = sorted(path for path in folder.iterdir() if is_metadata(path.name) and path.is_file())
    if len(files) > 1:
        raise DataError(f"{folder} has {' and '.join(file.name for file in files)}. Keep one of them.")
    return files[0] if files else None


def read_metadata(path: Path) -> list[Row]:
    """Read a metadata file.

    Returns:
        Its rows; all have the same columns, and ``file_name`` is text. See `columns.rename` for their names.

    Raises:
        DataError: The file is malformed, or a row has no file name.
    """
    rows = METADATA_FILES[path.name.lower()](path)
    names = rename(dict.fromkeys(name for row in rows for name in row), str(path))
    if rows and FILE_COLUMN not in names:
        raise DataError(f"{path} has no column {FILE_COLUMN!r}; it has {', '.join(names)}.")
    rows = [{name: row.get(there) for name, there in names.items()} for row in rows]
    for number, row in enumerate(rows, start=1):
        name = row[FILE_COLUMN]
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: row {number} has no {FILE_COLUMN}.")
    return rows


def _read_csv(path: Path) -> list[Row]:
    """Return the rows of a table with a header line. Its separator is the one that makes a column ``file_name``.

    Raises:
        DataError: A row is longer or shorter than the header, a column occurs twice, or quotes
            don't match.
    """
    text = _text(path)
    header = text.lstrip("\r\n").partition("\n")[0]
    separators = [mark for mark in ",;\t|" if FILE_COLUMN in (name.strip(' "').lower() for name in header.split(mark))]
    separator = next(iter(separators), "\t" if path.suffix.lower() == ".tsv" else ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=separator, skipinitialspace=True)
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
    lines = enumerate(_text(path).split("\n"), start=1)
    return [_json_row(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def _json_row(text: str, where: str) -> Row:
    row = _json(text, where)
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object.")
    return row


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}.") from None


def _read_json(path: Path) -> list[Row]:
    """Return the rows of a JSON list of objects, of a single object, or of one JSON object per line.

    Raises:
        DataError: The file is something else.
    """
    text = _text(path)
    try:
        rows = _json(text, str(path))
    except DataError:
        first = text.lstrip().partition("\n")[0].strip()
        if first.startswith("{") and first.endswith("}"):
            return _read_jsonl(path)
        raise
    if isinstance(rows, dict):
        _require_row(rows, path)
        return [rows]
    if not isinstance(rows, list):
        raise DataError(f"{path} is not a list of JSON objects, one for each image.")
    wrong = [number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)]
    if wrong:
        raise DataError(f"{path}: entry {wrong[0]} of the list is not a JSON object.")
    return rows


def _require_row(row: Row, path: Path) -> None:
    """Check that a single object is the row of an image.

    Raises:
        DataError: It is none; the message names the lists that it holds.
    """
    if FILE_COLUMN not in rename(row, str(path)):
        lists = [name for name, value in row.items() if isinstance(value, list)]
        inside = f" Write the list in {join_names(lists)} alone." if lists else ""
        raise DataError(
            f"{path} is one JSON object without {FILE_COLUMN!r}; a list of objects is expected, one for each image."
            f"{inside}"
        )


def _read_parquet(path: Path) -> list[Row]:
    """Return the rows of a Parquet file.

    Raises:
        DataError: It is not one, or has a column twice.
    """
    try:
        rename(pq.read_schema(path).names, str(path))
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Restore the file, or write the table as CSV.") from None
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}. Save it as UTF-8.") from None


METADATA_FILES: dict[str, Callable[[Path], list[Row]]] = {
    "metadata.csv": _read_csv,
    "metadata.tsv": _read_csv,
    "metadata.jsonl": _read_jsonl,
    "metadata.json": _read_json,
    "metadata.parquet": _read_parquet,
}
"""The reader of each kind of metadata file."""
