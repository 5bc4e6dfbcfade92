"""Images of several shapes: the buckets of kohya's trainer, from its file and from a plain folder, held by shape."""

import numpy as np
import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from whence.data import Dataset, load, read, write
from whence.data.buckets import Buckets
from whence.data.dataset_checks import require_one_shape
from whence.data.image_files import header
from whence.data.pixels import decode
from whence.errors import ConfigError, DataError
from whence.ragged import Ragged

SIZES = {"a": (40, 40), "b": (60, 40), "c": (40, 62), "d": (80, 30), "e": (41, 60), "f": (40, 40)}
SHAPES = {"a": (3, 32, 32), "b": (3, 24, 40), "c": (3, 40, 24), "d": (3, 16, 48), "e": (3, 40, 24), "f": (3, 32, 32)}
BUCKETS = {"enable_bucket": True, "min_bucket_reso": 16, "max_bucket_reso": 64, "bucket_reso_steps": 8}


def ramp(width: int, height: int) -> Image.Image:
    """A picture whose red is its column and whose green is its row, from 0 to 255."""
    columns, rows = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.stack(np.broadcast_arrays(columns[None], rows[:, None], np.full((1, 1), 7.0)), -1)
    return Image.fromarray(pixels.round().astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six pictures of five sizes, and a file of the trainer beside them."""
    path = tmp_path_factory.mktemp("pictures")
    (path / "images").mkdir()
    for name, size in SIZES.items():
        ramp(*size).save(path / "images" / f"{name}.png")
    general = {"resolution": 32, **BUCKETS}
    file = {"general": general, "datasets": [{"subsets": [{"image_dir": "images", "class_tokens": "ramp"}]}]}
    (path / "data.toml").write_text(tomli_w.dumps(file))
    return path


@pytest.fixture(scope="module")
def data(folder) -> Dataset:
    return load(folder / "data.toml")


def as_the_trainer(image: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """The picture scaled to cover its bucket and cut at both ends, as kohya's trainer does one after the other."""
    width, height = image.size
    scale = max(shape[0] / width, shape[1] / height)
    wide, high = int(width * scale + 0.5), int(height * scale + 0.5)
    left, top = (wide - shape[0]) // 2, (high - shape[1]) // 2
    scaled = image.resize((wide, high), Image.Resampling.LANCZOS)
    return np.array(scaled.crop((left, top, left + shape[0], top + shape[1]))).transpose(2, 0, 1)


def test_a_file_with_buckets_gives_the_shapes_and_pictures_of_the_trainer(data):
    assert isinstance(data.pixels, Ragged)
    assert data.sizes == tuple(SHAPES.values())
    shapes = "32x32 (2), 24x40 (2), 40x24 (1), 48x16 (1)"
    assert f"Images were scaled and cropped to several shapes: {shapes}." in data.notes
    for n, size in enumerate(SIZES.values()):
        _, height, width = data.sizes[n]
        theirs = as_the_trainer(ramp(*size), (width, height)).astype(int)
        assert np.abs(data.pixels[n].astype(int) - theirs).max() <= 8  # a pixel of these pictures is 4 to 8


def test_a_folder_with_the_step_of_buckets_gives_the_same(folder, data):
    plain = load(folder / "images", resolution=32, buckets=8)
    assert [tuple(part.shape) for part in plain.pixels.parts] == [tuple(part.shape) for part in data.pixels.parts]
    assert plain.fingerprints == data.fingerprints
    assert load(folder / "data.toml", resolution=32, buckets=8).fingerprint == data.fingerprint


def test_an_image_alone_is_as_among_others(folder, data):
    for n, name in enumerate(SIZES):
        alone = load(folder / "images" / f"{name}.png", resolution=32, buckets=8)
        assert isinstance(alone.pixels, np.ndarray)
        assert alone.fingerprints == (data.fingerprints[n],)
        assert np.array_equal(data.select([n]).pixels, alone.pixels)


def test_pictures_of_one_shape_are_what_they_were(folder):
    square = load(folder / "images", resolution=16)
    file = {"general": {"resolution": 16}, "datasets": [{"subsets": [{"image_dir": "images"}]}]}
    (folder / "square.toml").write_text(tomli_w.dumps(file))
    assert load(folder / "square.toml").fingerprints == square.fingerprints
    file["general"] = {"resolution": [16, 24]}
    (folder / "upright.toml").write_text(tomli_w.dumps(file))
    upright = load(folder / "upright.toml")
    assert isinstance(upright.pixels, np.ndarray)
    assert upright.size == (3, 24, 16)


def test_what_is_written_is_read_again(data, tmp_path):
    write(data, tmp_path / "data")
    again = read(tmp_path / "data")
    assert again.fingerprint == data.fingerprint
    assert all(np.array_equal(again.pixels[n], data.pixels[n]) for n in range(len(data)))
    assert again.select([4, 2]).pixels.shape == (2, 3, 40, 24)
    assert load(tmp_path / "data").sizes == data.sizes
    with pytest.raises(DataError, match=r"can't be changed: 32x32 \(2\), 24x40 \(2\), .* Leave out"):
        load(tmp_path / "data", resolution=8)


@given(st.permutations(range(6)))
def test_a_selection_has_its_pictures_in_its_order(data, rows):
    chosen = data.select(rows)
    assert chosen.fingerprints == tuple(data.fingerprints[n] for n in rows)
    assert chosen.sizes == tuple(data.sizes[n] for n in rows)
    for group in chosen.pixels.groups():
        tensors = torch.from_numpy(np.stack([data.pixels[rows[n]] for n in group]))
        assert torch.equal(chosen.tensor[group], tensors)


def test_what_takes_one_shape_says_which_there_are(data):
    several = r"several( shapes)?: 32x32 \(2\), 24x40 \(2\), 40x24 \(1\), 48x16 \(1\)\..*--resolution without --buckets"
    for use in (lambda: data.size, lambda: data.images(range(6)), lambda: np.asarray(data.pixels)):
        with pytest.raises(DataError, match=several):
            use()
    with pytest.raises(DataError, match=r"^An ensemble takes images of one shape, and these have " + several):
        require_one_shape(data, "An ensemble")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": 8}, "give --resolution 512 --buckets 8"),
        ({"buckets": 0, "resolution": 32}, "The step of buckets must be at least 1; given 0"),
        ({"buckets": 64, "resolution": 32}, "multiples of 64, and the resolution is 32x32"),
        ({"buckets": "8", "resolution": 32}, "a whole number"),
    ],
)
def test_buckets_that_can_not_be_are_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        load(folder / "images", **options)


def test_sizes_without_a_resolution_are_refused_with_both_ways_out(folder):
    with pytest.raises(DataError, match="Pass --resolution to crop .* and --buckets too to keep several shapes"):
        load(folder / "images")


@given(st.integers(20, 400), st.integers(20, 400), st.booleans())
def test_the_centre_of_an_image_stays_the_centre(width, height, no_upscale):
    buckets = Buckets((96, 96), 32, 192, 16, no_upscale)
    found = decode(ramp(width, height), "x", channels=3, buckets=buckets).astype(float)
    assert found.shape == (3, *reversed(buckets.of((width, height))))
    scale = buckets.scale((width, height))
    for channel, side, length in ((0, found.shape[2], width), (1, found.shape[1], height)):
        line = found[channel].mean(channel)
        assert abs(line.mean() - 127.5) <= 255 / length  # half a pixel of the image that is cut in whole pixels
        assert abs((line[-1] - line[0]) - 255 * side / scale / length) <= 3 * 255 / length + 255 / side / scale


def test_the_size_that_buckets_get_is_that_after_turning(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp(60, 40).save(tmp_path / "turned.jpg", exif=exif)
    found = header(tmp_path / "turned.jpg", "turned")
    assert (found.width, found.height) == (40, 60)
    assert load(tmp_path / "turned.jpg", resolution=32, buckets=8).size == (3, 40, 24)
