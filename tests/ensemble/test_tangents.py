"""Tangents against float64 finite differences of a plain sampler, and where first order is exact."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from whence.config import ModelConfig, SamplerConfig
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw, picture_noise
from whence.engine import Engine
from whence.ensemble.model import MeanPrediction, NetworkMembers
from whence.ensemble.tangents import forward_evaluations, tangents, unclipped, weight_change
from whence.errors import NoSurvivorsError, NotFiniteError

NAMES = [(0, 1), (7, 2)]
FULL = torch.full((3,), 1 / 3, dtype=torch.float64)


def in_memory(networks) -> NetworkMembers:
    return NetworkMembers(dict(enumerate(networks)))


def members(prediction="v_prediction", attention=0, count=3) -> list[DiffusionModel]:
    config = ModelConfig(channels=(8, 16), attention=attention, prediction=prediction)
    return [DiffusionModel.new(config, (1, 8, 8), seed=m) for m in range(count)]


def slow_step(model, sampler, x, output, t, s):
    """One step without clipping and without noise, and the standard deviation of the noise, from eq. 12 and 16."""
    alpha = model.scheduler.alphas_cumprod.double()
    a, b, after = alpha[t].sqrt(), (1 - alpha[t]).sqrt(), alpha[s] if s >= 0 else torch.tensor(1.0).double()
    clean = {"epsilon": (x - b * output) / a, "sample": output, "v_prediction": a * x - b * output}[
        model.process.prediction
    ]
    variance = (1 - after) / (1 - alpha[t]) * (1 - alpha[t] / after) if sampler.method == "ddpm" else 0 * after
    return after.sqrt() * clean + (1 - after - variance).clamp(min=0).sqrt() * (x - a * clean) / b, variance.sqrt()


def slow(model, networks, sampler, weights, names=NAMES):
    """Pictures by a weighted sum of networks in float64, step by step, as a function of the weights."""
    x = picture_noise(names, 0, model.size).double()
    for k, (t, s) in enumerate(model.process.sampling_steps(sampler.steps, sampler.method)):
        at = torch.full((len(x),), t)
        output = sum(w * network(x, at).sample for w, network in zip(weights, networks, strict=True))
        x, spread = slow_step(model, sampler, x, output, t, s)
        if s >= 0:
            x = x + spread * picture_noise(names, k + 1, model.size).double()
    return x


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


#: What a network predicts and the sampler; and where it has attention, which changes the network alone.
CASES = [
    *((prediction, method, 0) for prediction in ("epsilon", "v_prediction", "sample") for method in ("ddpm", "ddim")),
    *(
        pytest.param(*case, 8, marks=pytest.mark.slow)
        for case in (("v_prediction", "ddpm"), ("epsilon", "ddim"), ("sample", "ddpm"))
    ),
]


@pytest.mark.parametrize(("prediction", "method", "attention"), CASES)
def test_against_float64_finite_differences(prediction, method, attention):
    """Central differences of the weights in float64; asked for is 1e-3, measured 1.4e-6, all of it float32's."""
    models, sampler, h = members(prediction, attention), SamplerConfig(method=method, steps=3), 1e-4
    networks = [model.network for model in models]
    pictures, J = tangents(models[0], in_memory(networks), sampler, NAMES)
    doubles = [deepcopy(network).double() for network in networks]
    with torch.no_grad():
        assert relative(pictures, slow(models[0], doubles, sampler, FULL)) < 1e-5
        for m, direction in enumerate(torch.eye(3).double()):
            up, down = (slow(models[0], doubles, sampler, FULL + sign * h * direction) for sign in (1, -1))
            assert relative(J[m], (up - down) / (2 * h)) < 1e-5


@pytest.mark.parametrize("attention", [pytest.param(0, marks=pytest.mark.slow), 8])
def test_float32_against_float64_forward_mode(attention):
    """The whole plain sampler differentiated forwards in float64, one weight after the other; measured 6e-7."""
    models, sampler = members(attention=attention), SamplerConfig(steps=3)
    _, J = tangents(models[0], in_memory(model.network for model in models), sampler, NAMES)
    doubles = [deepcopy(model.network).double() for model in models]
    for network in doubles:
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.register_forward_pre_hook(lambda _module, args: (args[0].contiguous(),))
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        for m, direction in enumerate(torch.eye(3).double()):
            _, expected = jvp(lambda w: slow(models[0], doubles, sampler, w), (FULL,), (direction,))
            assert relative(J[m], expected) < 1e-5


@pytest.mark.parametrize("survivors", [[0, 1], [2]])
def test_a_small_step_towards_the_ablation(survivors):
    """A thousandth of the way from all members to the survivors moves the picture by a thousandth of the estimate."""
    models, sampler = members(), SamplerConfig(steps=3)
    _, J = tangents(models[0], in_memory(model.network for model in models), sampler, NAMES)
    doubles, change = [deepcopy(model.network).double() for model in models], weight_change(3, survivors)
    with torch.no_grad():
        moved = slow(models[0], doubles, sampler, FULL + 1e-3 * change) - slow(models[0], doubles, sampler, FULL)
    assert relative(1e-3 * torch.einsum("m,mnchw->nchw", change, J), moved) < 2e-3


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_with_one_sampling_step_the_estimate_is_the_ablation(prediction):
    """A single step is affine in the weights, so first order is all there is."""
    models, sampler = members(prediction), SamplerConfig(steps=1)
    networks = [model.network for model in models]
    factual, J = tangents(models[0], in_memory(networks), sampler, NAMES)
    for survivors in ([0, 1], [1, 2], [2]):
        ablated, _ = tangents(models[0], in_memory([networks[m] for m in survivors]), sampler, NAMES)
        estimate = torch.einsum("m,mnchw->nchw", weight_change(3, survivors), J)
        assert relative(factual + estimate, ablated) < 1e-5


class Scale(nn.Module):
    """The linear denoiser x -> a x."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x, t):
        return type("Output", (), {"sample": self.factor * x})


FACTORS = [0.3, -0.1, 0.5, 0.9]


def closed_form(model, sampler, factor, derivative=False):
    """The picture that x -> a x draws is a polynomial in a: Σ_k ξ_k Π_(i>=k) (p_i + q_i a), x_s = p x + q output."""
    steps = model.process.sampling_steps(sampler.steps, sampler.method)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    p = [slow_step(model, sampler, one, zero, t, s)[0].item() for t, s in steps]
    q = [slow_step(model, sampler, zero, one, t, s)[0].item() for t, s in steps]
    spread = [1.0, *(slow_step(model, sampler, one, zero, t, s)[1].item() for t, s in steps[:-1])]
    total = 0
    for k, size in enumerate(spread):
        terms = [p[i] + q[i] * factor for i in range(k, len(steps))]
        product = torch.tensor(terms).double().prod()
        if derivative:
            others = (torch.tensor(terms[:i] + terms[i + 1 :]).double().prod() for i in range(len(terms)))
            product = sum(q[k + i] * other for i, other in enumerate(others))
        total = total + product * size * picture_noise(NAMES, k, model.size).double()
    return total


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_linear_denoisers_in_closed_form(method, steps):
    """x_0 is a polynomial in the mean factor ā, and J_m = a_m ∂x_0/∂ā."""
    (model,), sampler = members(count=1), SamplerConfig(method=method, steps=steps)
    mean = sum(FACTORS) / 4
    pictures, J = tangents(model, in_memory(map(Scale, FACTORS)), sampler, NAMES)
    assert relative(pictures, closed_form(model, sampler, mean)) < 1e-5
    for a, found in zip(FACTORS, J, strict=True):
        assert relative(found, a * closed_form(model, sampler, mean, derivative=True)) < 1e-5


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_linear_denoisers_that_differ_little(method):
    """The estimate meets the ablated picture of the closed form up to second order in the change of the factor."""
    (model,), sampler, errors = members(count=1), SamplerConfig(method=method, steps=5), []
    for width in (0.1, 0.05):
        factors = [0.4 + width * a for a in FACTORS]
        _, J = tangents(model, in_memory(map(Scale, factors)), sampler, NAMES)
        exact = closed_form(model, sampler, sum(factors[2:]) / 2) - closed_form(model, sampler, sum(factors) / 4)
        errors.append((torch.einsum("m,mnchw->nchw", weight_change(4, [2, 3]), J) - exact).norm().item())
        assert errors[-1] < width * exact.norm()
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_equal_members_have_equal_tangents_and_no_ablation_moves_the_picture():
    (model,) = members(count=1)
    _, J = tangents(model, in_memory([model.network] * 4), SamplerConfig(steps=3), NAMES)
    assert torch.equal(J, J[:1].expand_as(J))
    assert J.norm() > 0
    for survivors in ([0], [1, 2], [0, 1, 3]):
        assert torch.einsum("m,mnchw->nchw", weight_change(4, survivors), J).abs().max() < 1e-14


class Convolutions(TorchDispatchMode):
    """Counts the pictures that pass through convolutions, where the weights are not zero.

    In forward mode torch adds to each convolution one of the primal with the tangent of the weights, which is zero.
    """

    rows = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default and args[1].any():
            self.rows += len(args[0])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("attention", [0, pytest.param(8, marks=pytest.mark.slow)])
def test_evaluations_counted(attention):
    """The primal is shared: for each picture and step M networks pass 1 + M rows through every convolution."""
    models, sampler = members(attention=attention), SamplerConfig(steps=2)
    with torch.no_grad(), Convolutions() as one:
        models[0].network(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.long))
    with Convolutions() as all_of_it:
        tangents(models[0], in_memory(model.network for model in models), sampler, NAMES)
    assert one.rows > 0
    assert all_of_it.rows == len(NAMES) * forward_evaluations(3, sampler) * one.rows
    assert forward_evaluations(3, sampler) == 2 * 3 * (3 + 1)


def test_alone_or_together_within_rounding():
    """The last bits depend on the pictures beside it; measured 3e-7."""
    models, sampler = members(attention=8), SamplerConfig(steps=2)
    networks = [model.network for model in models]
    pictures, J = tangents(models[0], in_memory(networks), sampler, NAMES)
    for n, name in enumerate(NAMES):
        alone, tangent = tangents(models[0], in_memory(networks), sampler, [name])
        assert relative(pictures[n], alone[0]) < 1e-5
        assert relative(J[:, n], tangent[:, 0]) < 1e-5


def test_nothing_is_clipped_and_the_picture_is_the_samplers():
    models, sampler = members(), SamplerConfig(steps=4, clip=True)
    networks = [model.network for model in models]
    found = tangents(models[0], in_memory(networks), sampler, NAMES)
    again = tangents(models[0], in_memory(networks), unclipped(sampler), NAMES)
    assert all(map(torch.equal, found, again))
    assert found[0].abs().max() > 1
    predict = MeanPrediction(in_memory(networks), [(0, 1, 2)] * 2, batch_size=2)
    drawn = draw(predict, models[0], unclipped(sampler), NAMES)
    assert (found[0].clamp(-1, 1) - drawn).abs().max() < 1e-5


def test_the_networks_are_left_as_they_were():
    (model,) = members(attention=8, count=1)
    tangents(model, in_memory([model.network, model.network]), SamplerConfig(steps=1), NAMES)
    assert not any(module._forward_pre_hooks for module in model.network.modules())


def test_progress_is_reported():
    (model,), seen = members(count=1), []
    tangents(
        model,
        in_memory([Scale(0.1)]),
        SamplerConfig(steps=3),
        NAMES,
        Engine(report=lambda *progress: seen.append(progress)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_is_not_finite_is_refused():
    (model,) = members(count=1)
    with pytest.raises(NotFiniteError, match="Picture 0/1, drawn without clipping"):
        tangents(model, in_memory([Scale(float("inf"))]), SamplerConfig(steps=2), NAMES)


@pytest.mark.parametrize(
    ("count", "survivors", "expected"),
    [
        (4, [0, 1], [0.25, 0.25, -0.25, -0.25]),
        (4, [2], [-0.25, -0.25, 0.75, -0.25]),
        (3, [0, 1, 2], [0, 0, 0]),
        (5, [1, 4], [-0.2, 0.3, -0.2, -0.2, 0.3]),
    ],
)
def test_changes_of_the_weights(count, survivors, expected):
    change = weight_change(count, survivors)
    assert change.tolist() == pytest.approx(expected, abs=1e-15)
    assert change.sum().item() == pytest.approx(0, abs=1e-15)


def test_nobody_left():
    with pytest.raises(NoSurvivorsError, match="None of the 4 members"):
        weight_change(4, [])
