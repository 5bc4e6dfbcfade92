"""Scores as a folder for FiftyOne's `CSVDataset`: labels.csv, and the picture of each row in data/.

FiftyOne keeps one sample for each file, and one training image may be in the rows of several queries. So each row has a
file of its own. The column `filepath` names it inside data/.

    import fiftyone as fo
    fo.Dataset.from_dir("scores-fiftyone", fo.types.CSVDataset, fields={"score": float, "rank": int, "query": None})
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv

from whence import artefacts
from whence.errors import ArtefactError
from whence.scores.formats.folder import new_folder
from whence.scores.formats.parquet_images import encoder, require_pictures
from whence.scores.formats.plain import with_text
from whence.scores.pictures import ScorePictures
from whence.scores.table import SCHEMA, tables_of

if TYPE_CHECKING:
    from whence.scores.table import TableSource


def write_fiftyone(scores: TableSource, pictures: ScorePictures | None, path: Path, top: int | None) -> None:
    """Write a new folder: a row of labels.csv and a PNG in data/ for each score.

    Raises:
        ArtefactError: A picture was not kept beside the scores, or there is something at `path`.
        ConfigError: `top` is below 1.
    """
    encode, count = encoder(require_pictures(pictures).examples), 0
    tables = tables_of(scores, top)
    schema = SCHEMA.set(3, pa.field("units", pa.string())).insert(0, pa.field("filepath", pa.string()))
    with new_folder(path) as part, pyarrow.csv.CSVWriter(part / "labels.csv", schema) as writer:
        for table in tables:
            files = [f"{count + k:08d}.png" for k in range(len(table))]
            for file, example in zip(files, table.column("example").to_pylist(), strict=True):
                png = encode(example)
                if png is None:
                    raise ArtefactError(
                        f"There is no picture of the training image {example!r} beside the scores, where those at the "
                        "ends of the scores are kept: export fewer with --top, such as --top 20."
                    )
                artefacts.write_bytes(part / "data" / file, png)
            flat = artefacts.for_spreadsheets(with_text(table))
            writer.write_table(flat.add_column(0, schema.field(0), pa.array(files, pa.string())))
            count += len(table)
