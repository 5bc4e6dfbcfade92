"""Pictures of another size or range than the model's are refused; models that know little are not."""

import itertools

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from whence.config import ModelConfig
from whence.data import load
from whence.diffusion.checks import DRAWS, SIGNAL, relative_error, require_range, require_size
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.errors import DataError, NotFiniteError
from whence.images import require_pictures

PREDICTIONS = ["epsilon", "v_prediction", "sample"]
IDS = [f"image {n}" for n in range(400)]


@pytest.fixture(scope="module")
def digits():
    return load("digits").images(np.arange(120))


def sparse():
    """Black pictures with one white pixel: in [0, 1] nearly nothing is left of them."""
    x = -torch.ones(64, 1, 8, 8)
    x.flatten(1)[torch.arange(64), torch.arange(64)] = 1
    return x


def model(prediction="epsilon", schedule="squaredcos_cap_v2"):
    config = ModelConfig(channels=(16, 32), attention=0, prediction=prediction, schedule=schedule)
    return DiffusionModel.new(config, (1, 8, 8), seed=0)


def trained(made, x, steps, batch=64):
    """A few steps of Adam on the model's own loss."""
    source = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(made.network.train().parameters(), lr=4e-3)
    for _ in range(steps):
        rows = torch.randint(0, len(x), (batch,), generator=source)
        t = torch.randint(0, made.process.timesteps, (batch,), generator=source)
        loss = made.loss(x[rows], t, torch.randn(batch, 1, 8, 8, generator=source)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made.network.eval()
    return made


@pytest.mark.parametrize(
    ("prediction", "steps"),
    [
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("epsilon", 150), ("v_prediction", 60))),
        ("sample", 30),
    ],
)
def test_a_model_of_pictures_in_0_1_is_refused(prediction, steps, digits):
    made = trained(model(prediction, "linear"), (digits + 1) / 2, steps)
    with pytest.raises(
        DataError, match=r"trained on pictures with values in \[0, 1\]; given are values in \[-1, 1\].*2 x - 1"
    ):
        require_range(made, digits, IDS)


LONGER = [pytest.param(one, 60, marks=pytest.mark.slow) for one in PREDICTIONS]


@pytest.mark.parametrize(("prediction", "steps"), [*itertools.product(PREDICTIONS, [0, 5]), *LONGER])
def test_a_model_of_pictures_in_minus_1_1_passes_however_little_it_was_trained(prediction, steps, digits):
    made = trained(model(prediction), digits, steps, batch=16)
    require_range(made, digits, IDS)
    require_range(made, -digits, IDS)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "sigmoid"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_an_untrained_model_passes_whatever_the_pictures(prediction, schedule, digits):
    digits = digits[:40]
    for x in (digits, -digits, sparse(), -sparse(), torch.zeros(8, 1, 8, 8), torch.ones(8, 1, 8, 8)):
        require_range(model(prediction, schedule), x, IDS[: len(x)])


def test_the_relative_error_is_that_of_a_loop(digits):
    made, x, ids = model("v_prediction"), digits[:6], IDS[:6]
    bar = made.scheduler.alphas_cumprod.double()
    allowed = [t for t in range(1000) if SIGNAL[0] <= bar[t] <= SIGNAL[1]]
    draws, v = Draws(0, len(allowed)), x.double().var(correction=0).item()
    errors, guesses = [], []
    for n in range(6):
        for k in range(DRAWS):
            place, noise = draws([ids[n]], [k], (1, 8, 8))
            t = allowed[int(place)]
            a, s = bar[t].item() ** 0.5, (1 - bar[t].item()) ** 0.5
            x_t = a * x[n] + s * noise[0]
            with torch.no_grad():
                clean = a * x_t - s * made.network(x_t[None], torch.tensor([t])).sample[0]
            errors.append((clean - x[n]).square().mean().item() / v)
            guesses.append((s / a) ** 2 / (v + (s / a) ** 2))
    error, guess = relative_error(made, x, ids)
    assert error == pytest.approx(np.mean(errors), rel=1e-4)
    assert guess == pytest.approx(np.mean(guesses), rel=1e-6)


class Known(nn.Module):
    """Knows the pictures: it returns the one that is given as a condition, in one of the ranges."""

    def __init__(self, half):
        super().__init__()
        self.half = half

    def forward(self, x_t, t, picture):
        return (picture + 1) / 2 if self.half else picture


@pytest.mark.parametrize("half", [False, True])
def test_conditions_reach_the_network(half, digits):
    made = DiffusionModel(Known(half), DDPMScheduler(prediction_type="sample"), shape=(1, 8, 8))
    if half:
        with pytest.raises(DataError, match="and 0.00 on the same in"):
            require_range(made, digits, IDS, picture=digits)
    else:
        require_range(made, digits, IDS, picture=digits)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0, 255, r"'image 2' are between 0 and 255 \(1 of 4 pictures is outside \[-1, 1\]\).*x / 127.5 - 1"),
        (-1.01, 1, "between -1.01 and 1"),
        (-1, 1.002, r"between -1 and 1.002"),
    ],
)
def test_values_outside_are_named_with_the_example(low, high, message):
    x = torch.zeros(4, 1, 8, 8)
    x[2] = torch.linspace(low, high, 64).reshape(1, 8, 8)
    with pytest.raises(DataError, match=message):
        require_range(model(), x, IDS[:4])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_names_the_example(value):
    x = torch.zeros(4, 1, 8, 8)
    x[3, 0, 1, 1] = value
    with pytest.raises(NotFiniteError, match="picture 'image 3' has values that are not finite"):
        require_pictures(x, IDS[:4])


def test_rounding_beyond_the_range_passes():
    require_pictures(torch.tensor([[-1.0005, 1.0005]]), ["a"])


@pytest.mark.parametrize(
    ("given", "expected", "message"),
    [
        ((1, 8, 8), (1, 8, 8), None),
        ((3, 8, 8), (1, 8, 8), r"The queries are 3x8x8; the model takes 1x8x8 \(C x H x W\).*were: in grey\."),
        ((1, 8, 8), (3, 8, 8), r"with 3 channels\."),
        ((3, 16, 8), (1, 8, 16), r"resized to 16x8 pixels and in grey\."),
        ((8, 8), (1, 8, 8), r"are 8x8; the model takes 1x8x8\. Give examples"),
        ((5,), (4,), r"are 5; the model takes 4\. Give examples"),
    ],
)
def test_another_size_is_refused_with_both_named(given, expected, message):
    made = DiffusionModel(Known(half=False), DDPMScheduler(), shape=expected)
    if message is None:
        require_size(made, torch.zeros(2, *given), "queries")
        return
    with pytest.raises(DataError, match=message):
        require_size(made, torch.zeros(2, *given), "queries")
