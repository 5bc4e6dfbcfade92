import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from whence.data import Dataset
from whence.ensemble import Codebook
from whence.report.ensemble.unit import TrainingImages
from whence.report.picture import LARGE, SMALL, data_uri
from whence.similarity.attributors import pixel

UNITS = (("ann",), ("ann",), ("bob",), ("cy",), ("bob", "cy"), ("dan",))


@pytest.fixture
def images() -> TrainingImages:
    """Six images of four units; image 2 of bob and image 5 of dan are the same as image 0 of ann."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 4), dtype=np.uint8)
    pixels[2] = pixels[5] = pixels[0]
    data = Dataset(tuple("abcdef"), pixels, UNITS, ("a cat", *[None] * 5))
    bits = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool)
    return TrainingImages(data, Codebook(bits, ("ann", "bob", "cy", "dan"), seed=0))


def test_a_twin_that_survives_is_pointed_out(images):
    assert images.twin_notes(["ann"], [0, 1]) == [
        "Training image a has an identical twin, c of unit bob, which was not removed: "
        "1 of 2 surviving members did see the twin, and so the same pixels.",
        "Training image a has an identical twin, f of unit dan, which was not removed: "
        "none of the surviving members was trained on it.",
    ]


def test_a_twin_that_is_removed_too_is_not(images):
    assert images.twin_notes(["ann", "bob", "dan"], [1]) == []
    assert images.twin_notes(["cy"], [0]) == []


def test_a_training_image_says_whose_it_is_unless_that_is_known(images):
    assert images.picture(0, "distance 1").details == ("distance 1", "unit ann", "“a cat”")
    assert images.picture(0, known=["ann"]).details == ("“a cat”",)
    assert images.picture(4, known=["bob"]).details == ("units bob and cy",)


def test_closest_images_and_units_are_those_of_the_scores(images):
    likeness = pixel(images.data.images([3]), ["q"], images.data)
    assert [picture.name for picture in images.closest(likeness, "q")][0] == "d"
    expected = [name for name, _ in likeness.by_unit().top("q", 4)]
    found = [text.split(" ")[0] for text in images.closest_units(likeness, "q")]
    assert set(found) == set(expected)
    assert set(found[:2]) == {"cy", expected[1]}


@pytest.mark.parametrize(
    ("units", "grouped"), [(["a", "b"], False), (["a", "a"], True)], ids=["each its own", "together"]
)
def test_units_are_grouped_when_they_are_more_than_an_image(units, grouped):
    data = Dataset(("x", "y"), np.zeros((2, 1, 2, 2), np.uint8), tuple((u,) for u in units), (None, None))
    book = Codebook.random(data.unit_ids, members=4, seed=0)
    assert TrainingImages(data, book).grouped is grouped


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_keep_every_pixel(channels):
    pixels = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8).numpy()
    assert np.array_equal(decoded(pixels, LARGE).reshape(5, 7, -1), np.moveaxis(pixels, 0, -1))


@pytest.mark.parametrize("channels", [1, 3])
def test_large_pictures_are_shrunk_in_proportion(channels):
    assert decoded(np.full((channels, 200, 400), 9, np.uint8), SMALL).shape[:2] == (64, 128)


def decoded(pixels: np.ndarray, longest: int) -> np.ndarray:
    head, _, body = data_uri(pixels, longest).partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
