import numpy as np
import torch

from whence.diffusion.codec import Pixels


def test_every_pixel_is_encoded_by_the_formula_and_comes_back():
    pixels = torch.arange(256).to(torch.uint8).reshape(4, 1, 8, 8)
    x = Pixels().encode(pixels)
    assert x.dtype == torch.float32
    expected = pixels.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert np.array_equal(x.numpy(), expected)
    assert np.array_equal(Pixels().decode(x), pixels.numpy())


def test_values_outside_are_clamped():
    assert Pixels().decode(torch.tensor([-2.0, 0.0, 3.0])).tolist() == [0, 128, 255]
