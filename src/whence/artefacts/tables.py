"""Tables of artefacts: Parquet files, and CSV for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from whence.artefacts.files import replacing, write_bytes
from whence.errors import ArtefactError

#: Rows of a table that are written, or read, together.
GROUP = 2**14


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write named columns as a Parquet file, in groups of rows, each of which takes memory for a dictionary."""
    with replacing(path) as temporary:
        pq.write_table(pa.table(dict(columns)), temporary, row_group_size=GROUP)


def write_csv(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as a CSV file, for spreadsheets."""
    write_bytes(path, to_csv(columns))


def to_csv(columns: Mapping[str, Any]) -> bytes:
    """Return columns of equal length as CSV, for spreadsheets.

    Example:
        >>> print(to_csv({"unit": ["anna", "=1"], "share": [0.5, None]}).decode().strip())
        "unit","share"
        "anna",0.5
        "'=1",
    """
    sink = pa.BufferOutputStream()
    pacsv.write_csv(for_spreadsheets(pa.table(dict(columns))), sink)
    return bytes(sink.getvalue().to_pybytes())


def for_spreadsheets(table: pa.Table) -> pa.Table:
    """Return a table whose text a spreadsheet doesn't take for formulas: "'" comes before a leading =, +, - or @.

    Example:
        >>> for_spreadsheets(pa.table({"unit": ["=1+1", "anna"], "share": [-1, 2]})).to_pydict()
        {'unit': ["'=1+1", 'anna'], 'share': [-1, 2]}
    """
    for place, name in enumerate(table.column_names):
        if pa.types.is_string(table.schema.field(place).type):
            text = pc.replace_substring_regex(table.column(place), r"^([=+\-@\t\r])", r"'\1")
            table = table.set_column(place, name, text)
    return table


def read_table(path: Path) -> dict[str, list[Any]]:
    """Return the content of a Parquet file as named columns.

    Raises:
        ArtefactError: The file is missing or damaged.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        columns: dict[str, list[Any]] = file.read().to_pydict()
    return columns


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the errors of a Parquet file that is missing or damaged into an `ArtefactError`."""
    try:
        yield
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist.") from None
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file, from its metadata alone; errors are those of `read_table`."""
    with _reading(path):
        rows: int = pq.read_metadata(path).num_rows
    return rows


@dataclass(frozen=True)
class TextColumn(Sequence[str]):
    """A column of text in a Parquet file, which is read group by group each time it is gone through.

    Errors are those of `read_table`.

    Attributes:
        path: The file.
        name: The name of the column.
    """

    path: Path
    name: str

    def __len__(self) -> int:
        return count_rows(self.path)

    def __iter__(self) -> Iterator[str]:
        return self._after(0)

    def __getitem__(self, n: Any) -> Any:
        if not isinstance(n, slice):
            return next(self._after(range(len(self))[n]))
        rows = range(len(self))[n]
        if rows.step < 0:
            return list(self)[n]
        return list(islice(self._after(rows.start), 0, len(rows) and rows.stop - rows.start, rows.step))

    def _after(self, skipped: int) -> Iterator[str]:
        """Yield the values after so many; row groups before them are not read."""
        with _reading(self.path), pq.ParquetFile(self.path) as file:
            first = 0
            while first < file.num_row_groups and skipped >= (count := file.metadata.row_group(first).num_rows):
                first, skipped = first + 1, skipped - count
            for batch in file.iter_batches(GROUP, list(range(first, file.num_row_groups)), [self.name]):
                yield from batch.column(self.name).to_pylist()[skipped:]
                skipped = max(0, skipped - len(batch))
