"""A table of training examples on disk, of which only the columns that are wanted are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from whence.errors import DataError

_IMAGE = "image"
_ROWS_AT_ONCE = 64


class Table(Mapping[str, list[object]]):
    """Columns by name, read when asked for; class numbers are replaced by their names.

    Attributes:
        rows: The table itself.
        features: What Hugging Face's ``datasets`` knows of each column.
        where: What messages call it.
    """

    def __init__(self, rows: pads.Dataset, features: Mapping[str, Any], where: str) -> None:
        self.rows = rows
        self.features = features
        self.where = where

    @classmethod
    def of_parquet(cls, rows: pads.Dataset, where: str) -> Table:
        """A table whose features are written in its schema, or not known."""
        noted = (rows.schema.metadata or {}).get(b"huggingface", b"{}")
        try:
            features = json.loads(noted)["info"]["features"]
        except (ValueError, LookupError, TypeError):
            features = {}
        return cls(rows, features if isinstance(features, dict) else {}, where)

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
        columns = self.rows.schema.names
        images = [name for name in columns if _get(self.features.get(name), "_type") == "Image"]
        if _IMAGE in columns or len(images) == 1:
            return _IMAGE if _IMAGE in columns else images[0]
        reason = "has no image column" if not images else "has several image columns"
        raise DataError(f"{self.where} {reason}; it has {', '.join(columns)}. Name one of them {_IMAGE!r}.")

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in self.rows.schema if _holds_values(field.type))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> list[object]:
        if name not in self:
            raise KeyError(name)
        values: list[object] = self.rows.to_table(columns=[name]).column(0).to_pylist()
        feature = self.features.get(name)
        names = _get(feature, "names") or _get(_get(feature, "feature"), "names")
        return [_named(value, names) for value in values] if names else values


class Images:
    """The images of a table, row by row, as often as wanted; a few are in memory at a time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._column = table.image_column

    def __iter__(self) -> Iterator[bytes]:
        batches = self._table.rows.to_batches(
            columns=[self._column], batch_size=_ROWS_AT_ONCE, batch_readahead=1, fragment_readahead=1
        )
        values = (value.as_py() for batch in batches for value in batch.column(0))
        for row, value in enumerate(values):
            found = value.get("bytes") if isinstance(value, dict) else value
            if not isinstance(found, bytes):
                raise DataError(
                    f"{self._table.where}, row {row}: the column {self._column!r} holds no image bytes. "
                    "Save the data set with its images in it."
                )
            yield found


def _holds_values(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text, numbers, or lists of them."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_dictionary(kind):
        return _holds_values(kind.value_type)
    return bool(pa.types.is_primitive(kind) or pa.types.is_null(kind) or _is_text(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _get(feature: Any, key: str) -> Any:
    return feature.get(key) if isinstance(feature, dict) else None


def _named(value: Any, names: list[str]) -> object:
    """The name of a class number, or of each in a list; `datasets` writes -1 for a missing one."""
    if isinstance(value, list):
        return [_named(entry, names) for entry in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
