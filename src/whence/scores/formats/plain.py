"""Scores as a CSV or Parquet file without pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from whence import artefacts
from whence.errors import ConfigError
from whence.scores.table import SCHEMA, tables_of

if TYPE_CHECKING:
    from whence.scores.table import TableSource

_WRITERS: dict[str, Callable[..., AbstractContextManager[Any]]] = {
    ".csv": pyarrow.csv.CSVWriter,
    ".parquet": pyarrow.parquet.ParquetWriter,
}


def write_plain(scores: TableSource, path: Path, top: int | None = None) -> None:
    """Write the table of scores to a file .parquet or .csv, query by query; a file that is there is replaced.

    In CSV the units of an example are a JSON list, and text that a spreadsheet would take for a formula begins with
    "'".

    Raises:
        ConfigError: The suffix is another one, or `top` is below 1.
    """
    open_writer = _WRITERS.get(path.suffix.lower())
    if open_writer is None:
        raise ConfigError(f"{path} has the suffix {path.suffix!r}; scores are written as {' or '.join(_WRITERS)}.")
    flat = path.suffix.lower() == ".csv"
    tables = tables_of(scores, top)
    schema = SCHEMA.set(3, pa.field("units", pa.string())) if flat else SCHEMA
    with artefacts.replacing(path) as temporary, open_writer(temporary, schema) as writer:
        for table in tables:
            writer.write_table(artefacts.for_spreadsheets(with_text(table)) if flat else table)


def with_text(table: pa.Table) -> pa.Table:
    """Return the table with the units of each row as the text of a JSON list."""
    texts = [json.dumps(units, ensure_ascii=False) for units in table.column("units").to_pylist()]
    return table.set_column(3, pa.field("units", pa.string()), pa.array(texts, pa.string()))
