"""Formats of exported scores. A new one is a file with its function, and one line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whence.errors import ConfigError
from whence.scores.formats.datasets_folder import write_datasets_folder
from whence.scores.formats.fiftyone import write_fiftyone
from whence.scores.formats.parquet_images import write_parquet_images
from whence.scores.formats.plain import write_plain
from whence.scores.pictures import ScorePictures

if TYPE_CHECKING:
    from whence.scores.table import TableSource


@dataclass(frozen=True)
class Format:
    """A format of exported scores.

    Attributes:
        content: What is written.
        write: From scores, their pictures, the place, and how many of each query, to what is written there.
    """

    content: str
    write: Callable[[TableSource, ScorePictures | None, Path, int | None], None]


def _write_plain(scores: TableSource, _pictures: ScorePictures | None, path: Path, top: int | None) -> None:
    write_plain(scores, path, top)


FORMATS = {
    "csv": Format("a table for spreadsheets", _write_plain),
    "parquet": Format("a table with types", _write_plain),
    "parquet-images": Format("a Parquet file with the pictures in it", write_parquet_images),
    "datasets": Format("a folder for `datasets.load_from_disk`, with pictures", write_datasets_folder),
    "fiftyone": Format("a folder for FiftyOne: labels.csv, and a picture for each row in data/", write_fiftyone),
}


def write_scores(
    scores: TableSource, to: Path, *, top: int | None = None, format: str | None = None, source: Path | None = None
) -> None:
    """Write scores in a format of `FORMATS`, by default that of the suffix of `to`.

    `source` is the folder of the scores; pictures are those that `whence attribute` kept beside it.

    Raises:
        ConfigError: There is no such format, the suffix is not that of the format, or `top` is below 1.
        ArtefactError: The format needs pictures that are not there, or a folder is in the place of the new one.
    """
    name = format or to.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        raise ConfigError(f"{to} can't be written as {name!r}; --format is {', '.join(FORMATS)}.")
    if name in ("csv", "parquet") and to.suffix.lower() != f".{name}":
        raise ConfigError(f"{to} has the suffix {to.suffix!r}; a file of the format {name} ends in .{name}.")
    plain = FORMATS[name].write is _write_plain
    pictures = None if plain or source is None else ScorePictures.beside(source)
    FORMATS[name].write(scores, pictures, to, top)
