import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image

from whence import artefacts
from whence.attribution.queries import read_queries
from whence.config import ModelConfig, SamplerConfig
from whence.data import load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.origin import Origin
from whence.diffusion.sampling import draw
from whence.engine import Engine
from whence.ensemble.model import MeanPrediction, NetworkMembers
from whence.errors import ArtefactError, ConfigError, DataError, ModelError

DDIM = SamplerConfig(method="ddim", steps=3, batch_size=4)


def model(size: tuple[int, int, int] = (1, 8, 8), **settings) -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8,), attention=0, **settings), size, 0)


@pytest.fixture
def folder(tmp_path):
    """Write a folder of two images of (C, H, W) and return its path."""

    def write(channels: int, height: int, width: int):
        path = tmp_path / f"{channels}x{height}x{width}"
        path.mkdir()
        source = np.random.default_rng(0)
        for n in range(2):
            pixels = source.integers(0, 256, (height, width, channels), np.uint8)
            Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path / f"{n}.png")
        return path

    return write


def test_pictures_drawn_now_are_those_of_the_plain_sampler():
    """Against an ensemble of this one model."""
    made = model()
    queries = read_queries(made, "sample:5@7", sampler=DDIM)
    names = [(7, index) for index in range(5)]
    expected = draw(MeanPrediction(NetworkMembers({0: made.network}), [(0,)] * 5, 4), made, DDIM, names)
    assert torch.equal(queries.values, expected)
    assert queries.ids == ("7/0", "7/1", "7/2", "7/3", "7/4")
    assert queries.origin == Origin(DDIM, drawn=True)


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
def test_a_picture_does_not_depend_on_how_many_are_drawn(method):
    made, sampler = model(), SamplerConfig(method=method, steps=3, batch_size=4)
    queries = {count: read_queries(made, f"sample:{count}", sampler=sampler).values for count in (1, 3, 9)}
    assert torch.equal(queries[1], queries[9][:1])
    assert torch.equal(queries[3], queries[9][:3])
    assert not torch.equal(queries[1], read_queries(made, "sample:1@1", sampler=sampler).values)


def test_by_default_ddim_of_fifty_steps_and_seed_0():
    made, seen = model(), []
    queries = read_queries(made, "sample:1", engine=Engine(report=lambda done, total: seen.append((done, total))))
    assert queries.origin.sampler == SamplerConfig(method="ddim", steps=50)
    assert torch.equal(queries.values, read_queries(made, "sample:1@0", sampler=queries.origin.sampler).values)
    assert seen == [(k, 50) for k in range(1, 51)]


def test_the_samples_of_an_ensemble(tiny_ensemble):
    path = tiny_ensemble.path / "samples/0"
    queries = read_queries(model(), str(path))
    assert queries.ids == ("0/0", "0/1", "0/2", "0/3")
    assert torch.equal(queries.values, artefacts.read_tensors(path / "pictures.safetensors")["pictures"])
    assert queries.origin == Origin(tiny_ensemble.config.sampler, drawn=False)


def test_held_out_digits():
    queries, digits = read_queries(model(), "digits:test"), load("digits:test")
    assert queries.ids == digits.ids
    assert torch.equal(queries.values, digits.images(range(297)))
    assert queries.origin is None


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 8), (3, 8, 16)])
def test_a_folder_of_images_as_it_is(folder, size):
    path = folder(*size)
    queries = read_queries(model(size), str(path))
    assert queries.ids == ("0.png", "1.png")
    assert torch.equal(queries.values, load(path).images([0, 1]))
    assert queries.values.dtype == torch.float32


def test_grey_pictures_for_a_model_of_colours(folder):
    path = folder(1, 8, 8)
    queries = read_queries(model((3, 8, 8)), str(path)).values
    assert torch.equal(queries, load(path).images([0, 1]).repeat(1, 3, 1, 1))


def test_another_size_where_it_was_asked_for(folder):
    path = folder(3, 12, 20)
    queries = read_queries(model(), str(path), resolution=8, grey=True)
    assert torch.equal(queries.values, load(path, resolution=8, grey=True).images([0, 1]))


@pytest.mark.parametrize(
    ("size", "given", "message"),
    [
        ((1, 8, 8), (1, 12, 20), "20x12 pixels of 1 channel, the model's pictures 8x8 pixels of 1 channel. "
                                 "Pass --resolution 8."),
        ((1, 8, 8), (3, 8, 8), "8x8 pixels of 3 channels, the model's pictures 8x8 pixels of 1 channel. Pass --grey."),
        ((1, 8, 8), (3, 16, 16), "16x16 pixels of 3 channels, the model's pictures 8x8 pixels of 1 channel. "
                                 "Pass --resolution 8 and --grey."),
        ((3, 8, 16), (3, 16, 8), "8x16 pixels of 3 channels, the model's pictures 16x8 pixels of 3 channels. "
                                 "Pass pictures cropped and scaled to 16x8 pixels."),
    ],
)  # fmt: skip
def test_another_size_is_refused(folder, size, given, message):
    path = folder(*given)
    with pytest.raises(DataError) as error:
        read_queries(model(size), str(path))
    assert str(error.value) == f"The queries in {path} are {message}"


def test_samples_of_another_size_are_refused(tiny_ensemble):
    with pytest.raises(DataError, match=r"8x8 pixels of 1 channel, the model's pictures 16x16 pixels of 1 channel"):
        read_queries(model((1, 16, 16)), str(tiny_ensemble.path / "samples/0"))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        *[
            (f"sample:{rest}", ConfigError, "sample:COUNT or sample:COUNT@SEED")
            for rest in ["", "0", "x", "-1", "1.5", "16@", "16@x", "16@-1", "@3", "00", "1" * 10, "1@" + "1" * 10, "²"]
        ],
        ("sample", DataError, "sample does not exist"),
        ("nowhere", DataError, "nowhere does not exist"),
        ("empty", DataError, "empty has no images"),
        ("digits:nothing", DataError, "nothing"),
        ("begun", ArtefactError, "begun is unfinished"),
        ("text.txt", DataError, "neither a folder, nor an image, nor a file that ends with"),
    ],
)
def test_queries_that_are_not_there(tmp_path, monkeypatch, source, error, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "begun.part"):
        (tmp_path / name).mkdir()
    (tmp_path / "text.txt").write_text("")
    with pytest.raises(error, match=message):
        read_queries(model(), source)


def test_other_and_damaged_artefacts_are_refused(ensemble, flip_byte):
    with pytest.raises(ArtefactError, match="is an ensemble, not samples. It holds samples: .*ens/samples/0"):
        read_queries(model(), str(ensemble.path))
    flip_byte(ensemble.path / "samples/0/pictures.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        read_queries(model(), str(ensemble.path / "samples/0"))


def test_more_sampling_steps_than_timesteps_are_refused():
    with pytest.raises(ConfigError, match=r"11 sampling steps were asked for; the model has 10 timesteps\. Ask for"):
        read_queries(model(timesteps=10), "sample:1", sampler=SamplerConfig(steps=11))


def test_a_model_of_few_timesteps_draws_in_all_of_them():
    queries = read_queries(model(timesteps=10), "sample:1")
    assert queries.origin.sampler == SamplerConfig(method="ddim", steps=10)


@pytest.mark.parametrize("shape", [(4, 8, 8), (4,), (2, 1, 8, 8)])
@pytest.mark.parametrize("source", ["sample:2", "digits:test"])
def test_models_of_something_else_than_pictures_are_refused(shape, source):
    made = DiffusionModel(torch.nn.Identity(), DDPMScheduler(), shape=shape)
    with pytest.raises(ModelError, match="1 or 3 channels; the model's examples have the shape"):
        read_queries(made, source)


def test_a_folder_that_is_named_like_samples_needs_its_path(folder, tmp_path, monkeypatch):
    folder(1, 8, 8).rename(tmp_path / "sample:x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"given 'sample:x'. A folder of that name is ./sample:x"):
        read_queries(model(), "sample:x")
    assert isinstance(read_queries(model(), "./sample:x"), Examples)
