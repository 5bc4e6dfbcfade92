"""What is measured of a model, against the obvious loop."""

import numpy as np
import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.draws import Draws
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw_pictures
from whence.errors import NotFiniteError
from whence.images import to_pixels
from whence.retraining.denoising_losses import measure_losses
from whence.retraining.measurement import draw_pixels


def slow_losses(model, queries, draws, count):
    """One network evaluation for each draw of each query."""
    losses = np.zeros((len(queries), count))
    for q, name in enumerate(queries.ids):
        for k in range(count):
            t, noise = draws([name], np.array([k]), queries.size)
            x = queries.images([q])
            with torch.no_grad():
                output = model.network(model.process.noised(x, t, noise), t).sample
            losses[q, k] = (output - model.process.target(x, t, noise)).double().square().mean().item()
    return losses.mean(1)


@pytest.mark.parametrize(
    ("prediction", "count", "pictures"), [("epsilon", 5, 3), ("v_prediction", 1, 3), ("sample", 300, 1)]
)
def test_losses_are_those_of_the_obvious_loop(bank_data, prediction, count, pictures):
    model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0, prediction=prediction), (1, 8, 8), 0)
    queries, draws = bank_data.select(range(pictures)), Draws(7, model.process.timesteps)
    found = measure_losses(model, queries, draws, count)
    assert found == pytest.approx(slow_losses(model, queries, draws, count), rel=1e-5)


def test_losses_do_not_depend_on_the_other_queries(tiny_bank):
    model = DiffusionModel.load(tiny_bank.models[0])
    queries, draws = tiny_bank.queries_data, Draws(3, 1000)
    found = measure_losses(model, queries, draws, 8)
    order = [4, 0, 5]
    assert measure_losses(model, queries.select(order), draws, 8) == pytest.approx(found[order], rel=1e-6)


def test_pictures_are_those_that_the_model_draws(tiny_bank):
    model, sampler = DiffusionModel.load(tiny_bank.models[1]), tiny_bank.config.sampler
    expected = to_pixels(draw_pictures(model, sampler, ["0/0", "0/1"]))
    assert np.array_equal(draw_pixels(model, sampler, ["0/0", "0/1"]), expected)
    assert draw_pixels(model, sampler, []).shape == (0, 1, 8, 8)


def test_a_loss_that_is_not_finite_names_the_query(bank_data):
    model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), 0)
    torch.nn.init.constant_(next(model.network.parameters()), float("nan"))
    with pytest.raises(NotFiniteError, match=f"loss of {bank_data.ids[0]!r} is not finite"):
        measure_losses(model, bank_data.select(range(2)), Draws(0, model.process.timesteps), 2)
