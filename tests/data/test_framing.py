"""Framings of images: what their headers say, in the conventions of two trainers, and where they go."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from whence.data import load, read, write
from whence.data.framing import framing
from whence.diffusion.encoding import Encoders
from whence.diffusion.training import request_of

SHAPES = [((1000, 600), (512, 512)), ((600, 1000), (512, 512)), ((333, 501), (448, 576)), ((64, 64), (64, 64))]


@pytest.mark.parametrize(("original", "shape"), SHAPES)
def test_diffusers_crops_the_centre_of_what_torchvision_resized(original, shape):
    """The smaller side gets the resolution, the other one ⌊resolution · long / short⌋; then the trainer's own words."""
    (wide, high), (width, height) = original, shape
    if width == height:
        short, long = sorted(original)
        sides = {short: width, long: int(width * long / short)}
        y1 = max(0, int(round((sides[high] - height) / 2.0)))
        x1 = max(0, int(round((sides[wide] - width) / 2.0)))
        assert framing(original, shape) == (high, wide, y1, x1)
    top, left = framing(original, shape)[2:]
    scale = max(width / wide, height / high)
    assert abs(top - (scale * high - height) / 2) <= 1
    assert abs(left - (scale * wide - width) / 2) <= 1


def test_kohya_counts_what_is_missing():
    assert framing((1000, 600), (512, 512), kohya=True) == (600, 1000, 102, 0)
    assert framing((600, 1000), (512, 512), kohya=True) == (1000, 600, 0, 102)
    assert framing((640, 480), (576, 448), kohya=True) == (480, 640, 8, 0)
    assert framing((512, 512), (512, 512), kohya=True) == (512, 512, 0, 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Pictures of 40x24 and 20x30 pixels."""
    (tmp_path / "data").mkdir()
    for name, size in (("a", (40, 24)), ("b", (20, 30))):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{name}.png")
    return tmp_path / "data"


def test_pictures_that_are_scaled_keep_their_framings(folder, tmp_path):
    data = load(folder, resolution=16)
    assert data.framings == ((24, 40, 0, 5), (30, 20, 4, 0))
    assert data.select([1]).framings == data.framings[1:]
    write(data, tmp_path / "kept")
    assert read(tmp_path / "kept").framings == data.framings
    whole = load(folder / "a.png")
    assert whole.framings == ()
    assert whole.framed_sizes == ((3, 24, 40),)
    assert data.fingerprint == data.with_fields(framings=()).fingerprint


def test_a_file_of_the_trainer_has_its_convention(folder, tmp_path):
    (folder / "a.txt").write_text("a cat")
    (folder / "b.txt").write_text("a dog")
    subset = f'[[datasets.subsets]]\nimage_dir = {json.dumps(str(folder))}\ncaption_extension = ".txt"\n'
    (tmp_path / "train.toml").write_text(f"[[datasets]]\nresolution = 16\n{subset}")
    assert load(tmp_path / "train.toml").framings == ((24, 40, 3, 0), (30, 20, 0, 2))


def test_xl_is_trained_on_framings_and_explains_whole_queries(folder, pipelines, tmp_path):
    data = load(folder, resolution=16)
    encoders = Encoders.of(pipelines["stable_diffusion_xl"](tmp_path / "xl"))
    expected = torch.tensor([[24, 40, 0, 5, 16, 16], [30, 20, 4, 0, 16, 16]]).float()
    assert torch.equal(encoders.encode(data).conditions_of(range(2))["time_ids"], expected)
    kept = encoders.encode(data, tmp_path / "encoding")
    assert torch.equal(kept.conditions_of(range(2))["time_ids"], expected)
    own = torch.tensor([[16, 16, 0, 0, 16, 16]] * 2).float()
    assert torch.equal(encoders.encode_queries(data).conditions_of(range(2))["time_ids"], own)
    requests = [request_of(one, base=tmp_path / "xl") for one in (data, data.with_fields(framings=()))]
    assert "framings" in requests[0].inputs
    assert "framings" not in requests[1].inputs


def test_other_networks_are_not_told(folder, pipelines, stable_diffusion, tmp_path):
    data = load(folder, resolution=16)
    alpha = pipelines["pixart"](tmp_path / "alpha", kind="Alpha", side=128)
    conditions = Encoders.of(alpha).encode(data).conditions_of(range(2))
    assert conditions["resolution"].tolist() == [[16.0, 16.0]] * 2
    assert Encoders.of(stable_diffusion).framings(data) == {}
