"""Queries of an ensemble."""

import numpy as np
import pytest
import torch
from PIL import Image

from whence import artefacts
from whence.attribution.queries import read_queries
from whence.data import load
from whence.diffusion.prompts import Prompts
from whence.engine import Engine
from whence.ensemble.make_losses import losses
from whence.errors import ArtefactError, ConfigError, DataError


@pytest.fixture
def coloured(tmp_path):
    """Three colour images of 20 x 12 pixels; green on the left, blue on the right, brighter by number."""
    (tmp_path / "coloured").mkdir()
    for n in range(3):
        pixels = np.zeros((12, 20, 3), np.uint8)
        pixels[:, :10, 1] = pixels[:, 10:, 2] = 80 * n + 60
        Image.fromarray(pixels).save(tmp_path / "coloured" / f"{n}.png")
    return tmp_path / "coloured"


@pytest.mark.slow
def test_pictures_that_the_ensemble_drew(tiny_ensemble):
    drawn = artefacts.read_tensors(tiny_ensemble.path / "samples/0/pictures.safetensors")["pictures"]
    queries = read_queries(tiny_ensemble, "0/1-3")
    assert queries.ids == ("0/1", "0/2", "0/3")
    assert torch.equal(queries.values, drawn[1:4])
    queries = read_queries(tiny_ensemble, "0/2")
    assert queries.ids == ("0/2",)
    assert torch.equal(queries.values, drawn[2:3])


def test_held_out_digits(tiny_ensemble):
    queries = read_queries(tiny_ensemble, "digits:test")
    digits = load("digits:test")
    assert queries.ids == digits.ids
    assert torch.equal(queries.values, digits.images(range(297)))
    assert queries.values.shape == (297, 1, 8, 8)
    assert queries.values.min() == -1
    assert queries.values.max() == 1


def test_colours_of_another_size_become_grey_and_small(tiny_ensemble, coloured):
    """The central square of 12 x 12 pixels at 8 x 8, by the luma of ITU-R 601."""
    queries = read_queries(tiny_ensemble, str(coloured))
    assert queries.ids == ("0.png", "1.png", "2.png")
    assert queries.values.shape == (3, 1, 8, 8)
    assert queries.values.dtype == torch.float32
    for n, picture in enumerate(queries.values):
        for columns, luma in ((slice(0, 3), 0.587), (slice(5, 8), 0.114)):
            expected = luma * (80 * n + 60) / 127.5 - 1
            assert picture[0, :, columns].mean().item() == pytest.approx(expected, abs=0.02)


def test_they_can_be_measured(ensemble, coloured):
    queries = read_queries(ensemble, str(coloured))
    found = losses(ensemble, queries.values, queries.ids, draws=8, engine=Engine(1))
    assert found.queries == queries.ids
    assert (found.full() > 0).all()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("0/4", ArtefactError, "0/4 has not been drawn yet"),
        ("0/2-9", ArtefactError, "0/4 has not been drawn yet"),
        ("7/0", ArtefactError, "7/0 has not been drawn yet"),
        ("0/3-1", ConfigError, "SEED/FIRST-LAST"),
        ("0/1234567890", ConfigError, "SEED/INDEX"),
        ("0/", DataError, "does not exist"),
        ("nowhere", DataError, "nowhere does not exist"),
        ("digits:nothing", DataError, "nothing"),
        ("", DataError, "names no data"),
    ],
)
def test_pictures_that_are_not_there(tiny_ensemble, monkeypatch, tmp_path, source, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        read_queries(tiny_ensemble, source)


def test_a_folder_of_the_name_of_a_sample_needs_its_path(tiny_ensemble, coloured, monkeypatch):
    """0/1 is a picture of the ensemble, ./0/1 a folder."""
    folder = coloured.parent / "0" / "1"
    folder.parent.mkdir()
    coloured.rename(folder)
    monkeypatch.chdir(folder.parent.parent)
    assert read_queries(tiny_ensemble, "0/1").ids == ("0/1",)
    assert read_queries(tiny_ensemble, "./0/1").ids == ("0.png", "1.png", "2.png")


def test_prompts_are_not_ignored(tiny_ensemble):
    with pytest.raises(ConfigError, match="take no text. Leave them out"):
        read_queries(tiny_ensemble, "sample:1", prompts=Prompts(("a cat",)))
