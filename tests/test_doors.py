"""What callers from Python give by mistake ends in a message, not in a number or in a traceback."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import whence
from whence import images
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.config import Config
from whence.config_errors import require_whole
from whence.data import load
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError, DataError, WhenceError, WhenceWarning
from whence.evaluation.bank.bank_request import BankRequest
from whence.images import from_pixels, named_pictures, to_pixels

PIXELS = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
FLOATS = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)
NAMES = ["a", "b"]
ACCEPTED = {
    "tensor": FLOATS,
    "tensor with a gradient": FLOATS.clone().requires_grad_(),
    "array": FLOATS.numpy(),
    "array turned around": FLOATS.numpy()[::-1][::-1],
    "list of numbers": FLOATS.tolist(),
    "list of pictures": [FLOATS[0], FLOATS[1]],
}


@pytest.mark.parametrize("pictures", ACCEPTED.values(), ids=ACCEPTED)
def test_arrays_and_tensors_are_pictures(pictures):
    found = named_pictures(pictures, NAMES)
    assert torch.equal(found, FLOATS)
    assert not found.requires_grad


REFUSED = {
    "pixels": (PIXELS, NAMES, DataError, "pictures are torch.uint8; floating point numbers in [-1, 1] are expected. "),
    "array of pixels": (PIXELS.numpy(), NAMES, DataError, "whence.images.from_pixels makes them of pixels"),
    "truth values": (PIXELS > 0, NAMES, DataError, "pictures are torch.bool"),
    "whole numbers": (PIXELS.long(), NAMES, DataError, "pictures are torch.int64"),
    "text": ("sample:2", NAMES, DataError, "is expected; given is a str"),
    "nothing": (None, NAMES, DataError, "is expected; given is a NoneType"),
    "two sizes": (
        [FLOATS[0], torch.zeros(1, 2, 2)],
        NAMES,
        DataError,
        "given is a list. A list of pictures of one size",
    ),
    "one picture": (FLOATS[0], NAMES, DataError, "shape [n, C, H, W]; given [1, 1, 1]"),
    "numbers as names": (FLOATS, [0, 1], ConfigError, "has the name 0. A name is a text in UTF-8"),
    "an empty name": (FLOATS, ["a", ""], ConfigError, "has the name ''"),
    "a name that UTF-8 cannot hold": (FLOATS, ["a", "\ud800"], ConfigError, r"has the name '\ud800'"),
    "one text for all names": (FLOATS, "ab", ConfigError, "names of the pictures are the text 'ab'"),
    "names that repeat": (FLOATS, ["a", "a"], DataError, "need as many distinct names; given 1"),
}


@pytest.mark.parametrize(("pictures", "names", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_picture_or_name_is_refused(pictures, names, error, message):
    with pytest.raises(error, match=re.escape(message)):
        named_pictures(pictures, names)


@pytest.mark.parametrize("method", ["pixel", "pixel-kernel", "pixel-flips"])
def test_attributors_refuse_pixels_and_take_arrays(method):
    digits = load("digits").select(range(20))
    ask, pictures = whence.attributor(method, digits), digits.images([3, 4])
    with pytest.raises(DataError, match=r"torch.uint8"):
        ask(torch.from_numpy(digits.pixels[[3, 4]]), NAMES)
    with pytest.raises(ConfigError, match=r"has the name 3"):
        ask(pictures, [3, 4])
    assert torch.equal(ask(pictures.numpy(), NAMES).scores, ask(pictures, NAMES).scores)


def test_pixels_and_pictures_are_not_taken_for_each_other():
    with pytest.raises(DataError, match=r"Pixels must be uint8, 0 ... 255; given torch.float32"):
        from_pixels(FLOATS)
    with pytest.raises(DataError, match=r"torch.uint8"):
        to_pixels(PIXELS)


def test_examples_hold_tensors_of_arrays_and_names_that_are_text():
    examples = whence.Examples(NAMES, FLOATS.clone().requires_grad_())
    assert examples.ids == ("a", "b")
    assert not examples.values.requires_grad
    arrays = whence.Examples(NAMES, FLOATS.numpy(), {"caption": np.array([1, 2])})
    assert arrays.fingerprint == whence.Examples(("a", "b"), FLOATS, {"caption": torch.tensor([1, 2])}).fingerprint
    with pytest.raises(ConfigError, match=r"has the name 0"):
        whence.Examples((0, 1), FLOATS)
    with pytest.raises(DataError, match=r"2 ids, but 0 values"):
        whence.Examples(NAMES, torch.tensor(1.0))


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel.new(whence.ModelConfig(channels=(8,), attention=0), (1, 8, 8), seed=0)


def examples(low: float, high: float) -> whence.Examples:
    values = torch.linspace(low, high, 64).reshape(1, 1, 8, 8)
    return whence.Examples(("x",), values)


ARGUMENTS = {
    "queries that are a tensor": ({"queries": FLOATS}, "The queries are a Tensor; give Examples(ids, pictures)"),
    "queries that are a list": ({"queries": ["data"]}, "The queries are a list"),
    "data that are a tensor": ({"data": FLOATS}, "The training examples are a Tensor; give a Dataset"),
    "settings that are a dict": ({"config": {"draws": 8}}, "The settings are a dict; give AttributionConfig("),
    "empty settings": ({"config": {}}, "The settings are a dict"),
}


@pytest.mark.parametrize(("change", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_another_kind_are_refused(model, change, message):
    given = {"data": examples(-1, 1), "queries": examples(-1, 1), "config": None} | change
    with pytest.raises(ConfigError, match=re.escape(message)):
        whence.attribute(model, given["data"], given["queries"], "trak", config=given["config"])


def test_settings_that_are_a_dict_are_refused_wherever_they_are_given(tmp_path):
    digits = load("digits").select(range(4))
    for call in (
        lambda: whence.train(digits, tmp_path / "run", {"steps": 1}),
        lambda: whence.train_ensemble(digits, tmp_path / "ensemble", members=4, config={}),
        lambda: BankRequest.make(digits, None, {}),
        lambda: BankRequest.make(digits, None, None, {}),
    ):
        with pytest.raises(ConfigError, match=r"The settings are a dict"):
            call()


def test_queries_can_be_a_path(model, tmp_path):
    images.write_png(tmp_path / "a.png", np.zeros((1, 8, 8), np.uint8))
    request = AttributionRequest.of(model, load("digits").select(range(9)), tmp_path, "trak")
    assert request.queries.ids == ("a.png",)


@pytest.mark.parametrize(
    ("data", "queries", "warned"),
    [
        ((-1, 1), (-1, 1), []),
        ((0, 1), (-1, 1), ["training examples"]),
        ((-1, 1), (0, 1), ["queries"]),
        ((0, 1), (0, 1), ["training examples", "queries"]),
        ((0, 1.9), (-1, 1), []),
    ],
)
def test_training_examples_and_queries_in_0_to_1_are_a_warning(model, data, queries, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        AttributionRequest.of(model, examples(*data), examples(*queries), "trak")
    texts = [str(warning.message) for warning in caught if warning.category is WhenceWarning]
    assert [text.split(" in [0, 1]")[0].split("all 1 ")[1].removesuffix(" are") for text in texts] == warned


def test_latents_may_have_any_range(model):
    network = torch.nn.Conv2d(4, 4, 1)
    latent = DiffusionModel(network, model.scheduler, (4, 2, 2))
    values = whence.Examples(("x",), torch.linspace(0, 1, 16).reshape(1, 4, 2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AttributionRequest.of(latent, values, values, "trak")


@pytest.mark.parametrize(("value", "found"), [(8, 8), (np.int64(8), 8), (np.uint8(9), 9)])
def test_whole_numbers_of_numpy_are_settings(value, found):
    assert require_whole(value, "--draws", least=1) == AttributionConfig(draws=value).draws == found
    assert Config().updated("training", steps=value).training.steps == found
    assert type(require_whole(value, "--draws")) is int


@pytest.mark.parametrize("value", [1.5, 8.0, "8", True, None, np.float32(8)])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ConfigError, match=r"--draws must be a whole number and at least 1; given"):
        require_whole(value, "--draws", least=1)
    with pytest.raises(ConfigError):
        AttributionConfig(draws=value)


LOADED = {
    "resolution as text": ({"resolution": "8"}, "The resolution must be a whole number and at least 1; given '8'."),
    "a fraction": ({"resolution": 8.5}, "given 8.5"),
    "a list of columns": ({"unit_column": ["label"]}, "The unit column is a list; give the name of one column"),
    "a number as split": ({"split": 0}, "The split is a int; give its name"),
    "a tensor as data": ({"data": FLOATS}, "The data are a Tensor; give the name of a data set"),
    "no data": ({"data": None}, "The data are a NoneType"),
}


@pytest.mark.parametrize(("change", "message"), LOADED.values(), ids=LOADED)
def test_arguments_of_load_are_checked(change, message):
    arguments = {"data": "digits"} | change
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(arguments.pop("data"), **arguments)


def test_a_resolution_of_numpy_is_one():
    assert load("digits", resolution=np.int64(4)).size == (1, 4, 4)


@pytest.mark.parametrize("data", ["", ":train", " ", " :test"])
def test_data_without_a_name_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write_png(Path("a.png"), np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"names no data. .*; the current folder is '\.'"):
        load(data)
    assert load(".").ids == load(Path()).ids == ("a.png",)


def test_names_that_are_no_text_leave_no_losses(tmp_path):
    digits = load("digits").select(range(6))
    config = Config().updated("model", channels=(8,), attention=0).updated("training", steps=2)
    ensemble = whence.train_ensemble(digits, tmp_path / "run", members=4, config=config, engine=whence.Engine(1))
    for pictures, names, draws in (
        (digits.images([0, 1]), [0, 1], 2),
        (torch.from_numpy(digits.pixels[:2]), NAMES, 2),
        (digits.images([0, 1]), NAMES, 1.5),
    ):
        with pytest.raises(WhenceError):
            whence.losses(ensemble, pictures, names, draws=draws, engine=whence.Engine(1))
    assert not (ensemble.path / "losses").exists()
    array = digits.images([0, 1]).requires_grad_()
    measured = whence.losses(ensemble, array, NAMES, draws=np.int64(2), engine=whence.Engine(1))
    plain = whence.losses(ensemble, array.detach().numpy(), NAMES, draws=2, engine=whence.Engine(1))
    assert plain.path == measured.path
