"""Scores in every format, read again by the library that the format is for, where that is installed."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from whence.attribution.pictures import Pictures
from whence.diffusion.examples import Examples
from whence.errors import ArtefactError, ConfigError
from whence.scores.arrays import ScoreArrays
from whence.scores.formats import FORMATS, write_scores
from whence.scores.pictures import NamedPictures, ScorePictures
from whence.scores.scores import Estimand, Scores
from whence.scores.table import SCHEMA, to_table

IDS, QUERIES = ("a/1.png", "=b", "c"), ("0/0", "0/1")
PIXELS = torch.arange(3 * 3 * 4 * 4, dtype=torch.uint8).reshape(3, 3, 4, 4)
DRAWN = torch.linspace(-1, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)


@pytest.fixture
def stored(tmp_path) -> Path:
    """The folder of scores of one method, with pictures of queries and training images beside it."""
    named = (
        QUERIES,
        IDS,
        (("u",), ("v", "w"), ("u",)),
        "trak",
        Estimand(*["none"] * 5),
        "positive is proponent",
        "sum",
    )
    values = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])
    Scores(values, *named, standard_error=torch.ones(2, 3), draws=8).write(tmp_path / "out" / "trak", {})
    Pictures(Examples(QUERIES, DRAWN), Examples(IDS, PIXELS), (("u",),) * 3).write(tmp_path / "out" / "pictures", {})
    return tmp_path / "out" / "trak"


def export(stored: Path, to: Path, **how) -> Path:
    write_scores(ScoreArrays.read(stored), to, source=stored, **how)
    return to


def rows_of(stored: Path) -> list[dict]:
    return to_table(ScoreArrays.read(stored)).to_pylist()


def pixels_of(png: bytes) -> np.ndarray:
    return np.moveaxis(np.asarray(Image.open(io.BytesIO(png))), -1, 0)


def test_pictures_are_read_without_torch_as_with_it(stored):
    light, full = ScorePictures.beside(stored), Pictures.read(stored.parent / "pictures")
    for id in IDS:
        assert np.array_equal(light.examples.get(id), full.example(id))
    for id in QUERIES:
        assert np.array_equal(light.queries.get(id), full.query(id))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_without_pictures_goes_by_its_suffix(stored, tmp_path, suffix):
    to = export(stored, tmp_path / f"table.{suffix}")
    assert (pq.read_table(to).num_rows if suffix == "parquet" else len(to.read_text().splitlines()) - 1) == 6


def test_parquet_with_images(stored, tmp_path):
    table = pq.ParquetFile(export(stored, tmp_path / "t.parquet", format="parquet-images")).read()
    assert table.select(SCHEMA.names).to_pylist() == rows_of(stored)
    for row in table.to_pylist():
        assert np.array_equal(pixels_of(row["example_image"]["bytes"]), PIXELS[IDS.index(row["example"])])
        assert pixels_of(row["query_image"]["bytes"]).shape == (3, 4, 4)
    assert b"Image" in table.schema.metadata[b"huggingface"]


def test_a_folder_of_datasets(stored, tmp_path):
    from datasets import load_from_disk

    loaded = load_from_disk(str(export(stored, tmp_path / "folder", format="datasets", top=1)))
    assert [row["score"] for row in loaded] == [row["score"] for row in rows_of(stored) if row["rank"] in (1, 3)]
    for row in loaded:
        assert np.array_equal(np.moveaxis(np.asarray(row["example_image"]), -1, 0), PIXELS[IDS.index(row["example"])])
    with pytest.raises(ArtefactError, match="exists already"):
        export(stored, tmp_path / "folder", format="datasets")


def test_a_folder_for_fiftyone(stored, tmp_path):
    """As FiftyOne's importer of CSVDataset: one sample for each file, named relative to data/."""
    folder = export(stored, tmp_path / "fiftyone", format="fiftyone")
    with (folder / "labels.csv").open(newline="") as stream:
        samples = {row.pop("filepath"): row for row in csv.DictReader(stream)}
    assert sorted(samples) == sorted(path.name for path in (folder / "data").iterdir())
    assert len(samples) == 6
    for (file, sample), row in zip(samples.items(), rows_of(stored), strict=True):
        assert (float(sample["score"]), int(sample["rank"])) == (row["score"], row["rank"])
        expected = PIXELS[IDS.index(row["example"])]
        assert np.array_equal(pixels_of((folder / "data" / file).read_bytes()), expected)
    assert {sample["example"] for sample in samples.values()} == {"a/1.png", "'=b", "c"}


def test_pictures_that_are_missing(stored, tmp_path):
    few = ScorePictures(examples=NamedPictures(IDS[:1], PIXELS[:1].numpy()))
    arrays = ScoreArrays.read(stored)
    with pytest.raises(ArtefactError, match=r"no picture of the training image 'c' .* such as --top 20"):
        FORMATS["fiftyone"].write(arrays, few, tmp_path / "f", None)
    assert list(tmp_path.iterdir()) == [stored.parent]
    FORMATS["parquet-images"].write(arrays, few, tmp_path / "p.parquet", None)
    images = pq.ParquetFile(tmp_path / "p.parquet").read().column("example_image").to_pylist()
    assert [image is None for image in images] == [row["example"] != IDS[0] for row in rows_of(stored)]
    for name in ("parquet-images", "datasets", "fiftyone"):
        with pytest.raises(ArtefactError, match="There are no pictures beside these scores"):
            write_scores(arrays, tmp_path / "x", format=name)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("t.txt", None, "can't be written as 'txt'; --format is csv, parquet, parquet-images, datasets, fiftyone"),
        ("t", None, "can't be written as ''"),
        ("t.csv", "parquet", "has the suffix '.csv'; a file of the format parquet ends in .parquet"),
    ],
)
def test_formats_that_are_none(stored, tmp_path, name, format, message):
    with pytest.raises(ConfigError, match=message):
        export(stored, tmp_path / name, format=format)


def test_a_top_that_is_none_leaves_nothing(stored, tmp_path):
    for name in ("parquet-images", "datasets", "fiftyone"):
        with pytest.raises(ConfigError, match="top is 0"):
            export(stored, tmp_path / "x", format=name, top=0)
    assert list(tmp_path.iterdir()) == [stored.parent]
