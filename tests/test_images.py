import io

import numpy as np
import pytest
import torch
from PIL import Image

from whence import images


def test_to_pixels_inverts_what_the_data_set_does():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(images.to_pixels(torch.from_numpy(pixels).float().div(127.5).sub(1)), pixels)
    assert images.to_pixels(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


def test_difference_is_grey_where_nothing_changed():
    a, b = torch.tensor([0.0, -1.0, 1.0]), torch.tensor([0.0, 1.0, -1.0])
    assert images.difference(a, b).tolist() == [128, 255, 0]


def test_distance_against_numpy():
    a, b = torch.rand(3, 2, 4, 4) * 2 - 1, torch.rand(3, 2, 4, 4) * 2 - 1
    expected = [
        np.linalg.norm((x.double().numpy() - y.double().numpy()).ravel() / 2) for x, y in zip(a, b, strict=True)
    ]
    assert images.distance(a, b).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 3, 8, 9])
def test_every_picture_is_on_the_sheet(channels, count):
    pixels = np.random.default_rng(0).integers(0, 255, (count, channels, 8, 8), dtype=np.uint8)
    page = images.sheet(pixels, columns=4, side=16, gap=2)
    for k, picture in enumerate(pixels):
        top, left = 2 + (k // 4) * 18, 2 + (k % 4) * 18
        assert np.array_equal(page[:, top : top + 16 : 2, left : left + 16 : 2], picture)
        assert np.array_equal(page[:, top + 1 : top + 17 : 2, left + 1 : left + 17 : 2], picture)
    assert page.shape == (channels, -(-count // 4) * 18 + 2, min(4, count) * 18 + 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip(tmp_path, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    images.write_png(tmp_path / "a.png", pixels)
    assert (tmp_path / "a.png").read_bytes() == images.png(pixels)
    read = np.asarray(Image.open(io.BytesIO(images.png(pixels))))
    assert np.array_equal(read[None] if channels == 1 else np.moveaxis(read, -1, 0), pixels)
