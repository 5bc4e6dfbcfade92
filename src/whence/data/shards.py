"""The Parquet files of one split, which together are one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whence.data.address import file_system, inner_path
from whence.data.columns import rename
from whence.errors import DataError
from whence.lazy import pyarrow_dataset


def open_shards(files: Sequence[Path]) -> pyarrow_dataset.Dataset:
    """Return the rows of Parquet files, in the order of the files, as one table.

    A column has the type that holds the values of all files; of a type with structure it is that of the first file.

    Raises:
        DataError: A file can't be read, has a column twice, or has other columns or classes than the first file.
    """
    schemas = [_schema(file) for file in files]
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        _require_same_columns(files[0], schemas[0], file, schema)
        _require_same_classes(files[0], features_of(schemas[0]), file, features_of(schema))
    fields = [_common_field([schema.field(name) for schema in schemas]) for name in schemas[0].names]
    together = pa.schema(fields, metadata=schemas[0].metadata)
    names, system = [inner_path(file) for file in files], file_system(files[0])
    return pyarrow_dataset.dataset(names, format="parquet", schema=together, filesystem=system)


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """Return the features of the columns, as Hugging Face's ``datasets`` declares them in a schema; {} without them."""
    metadata = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(metadata)["info"]["features"]
    except (ValueError, LookupError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names(feature: Any) -> list[str] | None:
    """Return the classes that the values of a column, or the entries of its lists, are numbers of; None for others."""
    names: list[str] | None = _get(feature, "names") or _get(_get(feature, "feature"), "names")
    return names


def _get(feature: Any, key: str) -> Any:
    return feature.get(key) if isinstance(feature, dict) else None


def _schema(file: Path) -> pa.Schema:
    try:
        with file.open("rb") as stream:
            schema = pq.read_schema(stream)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}. Restore the file, or move it away.") from None
    rename(schema.names, str(file))
    return schema


def _require_same_columns(first: Path, expected: pa.Schema, file: Path, schema: pa.Schema) -> None:
    """Check that two files have the same columns by the same names.

    Raises:
        DataError: A column is in one of them only, or is spelled otherwise.
    """
    a, b = rename(expected.names, str(first)), rename(schema.names, str(file))
    for name in [*a, *b]:
        if name not in a or name not in b:
            has, lacks = (first, file) if name in a else (file, first)
            raise DataError(
                f"{has} has the column {name!r}, and {lacks} has not. Give all files of a split the same columns; "
                "a value may be empty."
            )
        if a[name] != b[name]:
            raise DataError(
                f"{first} has the column {a[name]!r}, and {file} has {b[name]!r}. Give the column one name in all "
                "files."
            )


def _require_same_classes(first: Path, expected: Mapping[str, Any], file: Path, features: Mapping[str, Any]) -> None:
    """Check that the numbers of classes mean the same in two files.

    Raises:
        DataError: A column has other classes, or the same in another order.
    """
    for name in dict.fromkeys([*expected, *features]):
        a, b = class_names(expected.get(name)), class_names(features.get(name))
        if a != b:
            raise DataError(
                f"{first} and {file} declare different classes of the column {name!r}: {_listed(a)}, and {_listed(b)}. "
                "Write all files of a split with the same classes."
            )


def _listed(names: list[str] | None) -> str:
    return "none" if names is None else ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _common_field(fields: Sequence[pa.Field]) -> pa.Field:
    """The field that holds the values of all fields: their common type, text beside other values, or else the first."""
    schemas = [pa.schema([field.remove_metadata()]) for field in fields]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except pa.ArrowException:
        text = any(pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in fields)
        plain = not any(pa.types.is_nested(field.type) or pa.types.is_binary(field.type) for field in fields)
        return pa.field(fields[0].name, pa.string()) if text and plain else fields[0]
