"""Scores as a folder that `datasets.load_from_disk` opens, with pictures. Spotlight shows such a data set as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from whence.scores.formats.folder import new_folder
from whence.scores.formats.parquet_images import features, require_pictures, tables_with_images
from whence.scores.pictures import ScorePictures

if TYPE_CHECKING:
    from whence.scores.table import TableSource


def write_datasets_folder(scores: TableSource, pictures: ScorePictures | None, path: Path, top: int | None) -> None:
    """Write the table of scores with pictures as a new folder. All rows are held in memory: use `top`.

    Raises:
        ArtefactError: No pictures were kept beside the scores, or there is something at `path`.
        ConfigError: `top` is below 1.
    """
    from datasets import Dataset, DatasetInfo

    columns, known = features(), require_pictures(pictures)
    pieces = [columns.arrow_schema.empty_table(), *tables_with_images(scores, known, top)]
    dataset = Dataset(pa.concat_tables(pieces), info=DatasetInfo(features=columns))
    with new_folder(path) as part:
        dataset.save_to_disk(part)
