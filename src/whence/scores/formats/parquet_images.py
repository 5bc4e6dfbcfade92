"""Scores as a Parquet file with the pictures in it, as PNG; `datasets` and its viewer show them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet

from whence import artefacts, images
from whence.errors import ArtefactError
from whence.scores.pictures import FOLDER, NamedPictures, ScorePictures
from whence.scores.table import tables_of

if TYPE_CHECKING:
    from whence.scores.table import TableSource

#: Pictures whose PNG is held in memory.
HELD = 1024


def write_parquet_images(scores: TableSource, pictures: ScorePictures | None, path: Path, top: int | None) -> None:
    """Write the table of scores with the columns `query_image` and `example_image`; a file that is there is replaced.

    A picture that was not kept is null: `whence attribute` keeps those at the ends of the scores of each query.

    Raises:
        ArtefactError: No pictures were kept beside the scores.
        ConfigError: `top` is below 1.
    """
    tables, schema = tables_with_images(scores, require_pictures(pictures), top), features().arrow_schema
    with artefacts.replacing(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        for table in tables:
            writer.write_table(table)


def require_pictures(pictures: ScorePictures | None) -> ScorePictures:
    """Return the pictures.

    Raises:
        ArtefactError: There are none.
    """
    if pictures is None:
        raise ArtefactError(
            f"There are no pictures beside these scores, in a folder `{FOLDER}`. `whence attribute ... --out OUT` "
            "keeps them; export OUT/METHOD, or choose --format csv or parquet."
        )
    return pictures


def features() -> Any:
    """Return the columns of the table as `datasets.Features`, with pictures as `Image`."""
    from datasets import Features, Image, List, Value

    columns = {"query": Value("string"), "rank": Value("int64"), "example": Value("string")}
    columns |= {"units": List(Value("string"))}
    columns |= {name: Value("float64") for name in ("score", "standard_error", "low", "high")}
    return Features(columns | {"opponent": Value("bool"), "query_image": Image(), "example_image": Image()})


def tables_with_images(scores: TableSource, pictures: ScorePictures, top: int | None) -> Iterator[pa.Table]:
    """Yield the table of scores in pieces, with the pictures of each row as PNG."""
    schema = features().arrow_schema
    query, example = encoder(pictures.queries), encoder(pictures.examples)
    for table in tables_of(scores, top):
        for name, encode in (("query", query), ("example", example)):
            cells = [_cell(encode(id), id) for id in table.column(name).to_pylist()]
            table = table.append_column(f"{name}_image", pa.array(cells, schema.field(f"{name}_image").type))
        yield table.cast(schema)


def encoder(pictures: NamedPictures) -> Any:
    """Return a function from an id to the PNG of its picture, or None; it remembers the last `HELD` of them."""

    @lru_cache(HELD)
    def encode(id: str) -> bytes | None:
        pixels = pictures.get(id)
        return None if pixels is None else images.png(pixels)

    return encode


def _cell(png: bytes | None, id: str) -> dict[str, bytes | str] | None:
    return None if png is None else {"bytes": png, "path": f"{id}.png"}
