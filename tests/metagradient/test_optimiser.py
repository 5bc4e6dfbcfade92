"""The closed forms of a step's derivatives against automatic differentiation, and the step against PyTorch's."""

import pytest
import torch
from diffusers.training_utils import EMAModel

from whence.config import TrainingConfig
from whence.diffusion.loop import learning_rate
from whence.metagradient.optimiser import Optimiser, State

P = 7
SETTINGS = {"steps": 20, "warmup": 3, "learning_rate": 0.02, "weight_decay": 0.1, "ema": 0.9}
LIMITS = pytest.mark.parametrize("limit", [0, 0.5, 1e6], ids=["no limit", "clipped", "below the limit"])


def random_state(generator):
    weights, first, average = torch.randn(3, P, generator=generator).double()
    return State(weights, first, torch.rand(P, generator=generator).double(), average)


@LIMITS
def test_steps_are_those_of_pytorch_and_diffusers(limit):
    config = TrainingConfig(clip_norm=limit, **SETTINGS)
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, P).double())
    optimiser = torch.optim.AdamW([parameter], betas=config.betas, weight_decay=config.weight_decay)
    ema, zero = EMAModel([parameter], decay=config.ema), torch.zeros(P).double()
    state = State(parameter.detach().clone(), zero, zero, parameter.detach().clone())
    for step, gradient in enumerate(torch.randn(config.steps, P).double()):
        parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([parameter], limit or float("inf"))
        optimiser.param_groups[0]["lr"] = learning_rate(config, step)
        optimiser.step()
        ema.step([parameter])
        state = Optimiser(config).update(state, gradient, step)
        torch.testing.assert_close(state.weights, parameter.detach())
        torch.testing.assert_close(state.average, ema.shadow_params[0])


@LIMITS
@pytest.mark.parametrize("step", [0, 1, 9])
def test_closed_derivatives_are_those_of_autograd(limit, step):
    generator = torch.Generator().manual_seed(step)
    optimiser, before = Optimiser(TrainingConfig(clip_norm=limit, **SETTINGS)), random_state(generator)
    gradient = torch.randn(P, generator=generator).double()

    def update(*tensors):
        after = optimiser.update(State(*tensors[:4]), tensors[4], step)
        return tuple(vars(after).values())

    inputs = (*vars(before).values(), gradient)
    along = tuple(torch.randn(P, generator=generator).double() for _ in inputs)
    after, pushed = torch.func.jvp(update, inputs, along)
    state = State(*after)
    tangent = State(*(one[None] for one in along[:4]))
    mine = optimiser.push(tangent, along[4][None], gradient, state, step)
    torch.testing.assert_close(torch.cat(list(vars(mine).values())), torch.stack(pushed))

    adjoint = State(*torch.randn(4, 1, P, generator=generator).double())
    _, transposed = torch.func.vjp(update, *inputs)
    expected = torch.stack(transposed(tuple(one[0] for one in vars(adjoint).values())))
    pulled, of_gradient = optimiser.pull_back(adjoint, gradient, state, step)
    torch.testing.assert_close(torch.cat([*vars(pulled).values(), of_gradient]), expected)


def test_weights_that_never_had_a_gradient_have_finite_derivatives():
    optimiser, zero = Optimiser(TrainingConfig(learning_rate=0.1)), torch.zeros(P)
    state = State(zero, zero, zero, zero)
    after = optimiser.update(state, zero, 0)
    adjoint = State(*torch.ones(4, 2, P))
    pulled, of_gradient = optimiser.pull_back(adjoint, zero, after, 0)
    assert all(torch.isfinite(one).all() for one in (*vars(pulled).values(), of_gradient))
