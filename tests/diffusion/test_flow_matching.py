"""The process of flow matching, held against the scheduler and the trainers' functions of diffusers."""

import math

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.training_utils import compute_loss_weighting_for_sd3
from scipy.stats import kstest
from torch import nn

from whence.config import SamplerConfig
from whence.diffusion.denoiser import predict
from whence.diffusion.draws import Draws
from whence.diffusion.flow_matching import FlowMatching
from whence.diffusion.flow_pipeline import FlowPipeline
from whence.diffusion.flow_times import FlowTimes
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.sampling import draw_pictures, picture_noise
from whence.diffusion.variance_preserving import VariancePreserving
from whence.errors import ConfigError, ModelError
from whence.gradients.readouts import outcome, readout
from whence.process_config import ProcessConfig


class Small(nn.Module):
    """One convolution of the example and its time."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x_t, t):
        return self.layer(torch.cat([x_t, (t / 1000).reshape(-1, 1, 1, 1).expand(-1, 1, *x_t.shape[2:])], 1))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small()


def flow(network, scheduler=None, **settings):
    scheduler = scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0)
    return DiffusionModel(network, scheduler, (2, 4, 4), settings=ProcessConfig(**settings))


def batch(model, count=6):
    source = torch.Generator().manual_seed(1)
    t, noise = model.process.draws(0)([str(n) for n in range(count)], [0] * count, (2, 4, 4))
    return torch.randn(count, 2, 4, 4, generator=source), t, noise


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("kind", [FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler])
def test_times_run_from_noise_down_and_are_those_of_the_scheduler(kind, shift):
    scheduler = kind(shift=shift)
    times = FlowMatching(scheduler).times
    assert torch.equal(times.table, scheduler.timesteps)
    assert times.table[0] == 1000
    assert times.table[500] / 1000 == (0.75 if shift == 3 else 0.5)


def test_noised_examples_are_those_of_the_scheduler(network):
    model = flow(network)
    x, t, noise = batch(model)
    expected = model.scheduler.scale_noise(x, t, noise)
    torch.testing.assert_close(model.process.noised(x, t, noise), expected)
    target = model.process.target(x, t, noise)
    torch.testing.assert_close(model.process.clean(target, expected, t), x)


def trainer_loss(model, x, t, noise, weighting="none", precondition=False):
    """The loss of the trainers of diffusers for SD3 and FLUX, in their own order."""
    scheduler = model.scheduler
    index = [(scheduler.timesteps == step).nonzero().item() for step in t]
    sigma = scheduler.sigmas[index].reshape(-1, 1, 1, 1)
    noised = (1.0 - sigma) * x + sigma * noise
    output, target = model.network(noised, t), noise - x
    if precondition:
        output, target = output * (-sigma) + noised, x
    weight = compute_loss_weighting_for_sd3(weighting, sigma)
    return (weight * (output - target) ** 2).flatten(1).mean(1)


@pytest.mark.parametrize("precondition", [False, True])
@pytest.mark.parametrize("weighting", ["none", "sigma_sqrt", "cosmap"])
def test_the_loss_and_its_readout_are_those_of_the_trainers(network, weighting, precondition):
    model = flow(network, weighting=weighting, precondition=precondition)
    x, t, noise = batch(model)
    with torch.no_grad():
        ours, theirs = model.loss(x, t, noise), trainer_loss(model, x, t, noise, weighting, precondition)
        found = outcome(model, model.output(model.process.noised(x, t, noise), t), x, t, noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(readout("loss").value(found), theirs, rtol=1e-5, atol=1e-6)


def test_a_flow_whose_target_is_the_noise_is_found_out(network):
    """The mistake of a published code: it differentiates the loss of a network that predicts the noise."""
    model = flow(network)
    x, t, noise = batch(model)
    with torch.no_grad():
        wrong = (model.output(model.process.noised(x, t, noise), t) - noise).square().flatten(1).mean(1)
        assert not torch.allclose(model.loss(x, t, noise), wrong, rtol=0.05)
    torch.testing.assert_close(model.loss(x, t, noise), trainer_loss(model, x, t, noise))


#: Densities with the quantity that is uniform or normal under them, by SciPy's names.
DENSITIES = {
    "uniform": ({}, lambda u: u, "uniform"),
    "logit_normal": ({"logit_mean": 1.0, "logit_std": 0.5}, lambda u: (np.log(u / (1 - u)) - 1.0) / 0.5, "norm"),
}


@pytest.mark.parametrize("density", DENSITIES)
def test_the_quantile_function_gives_the_density(density):
    settings, standard, name = DENSITIES[density]
    u = FlowTimes(1000, density=density, **settings).quantile((np.arange(4000) + 0.5) / 4000)
    assert kstest(standard(u), name).statistic < 1e-3


def test_the_mode_density_is_that_of_the_trainers():
    v = np.linspace(0.01, 0.99, 50)
    expected = 1 - v - 1.29 * (np.cos(math.pi * v / 2) ** 2 - 1 + v)
    assert np.allclose(FlowTimes(1000, density="mode").quantile(v), expected)
    assert (np.diff(expected) < 0).all()


def test_a_positive_logit_mean_is_little_noise(network):
    """Trainers index timesteps, which run from noise down, by u; so u near 1 has little noise."""
    means = {}
    for mean in (-1.0, 1.0):
        model = flow(network, FlowMatchEulerDiscreteScheduler(), density="logit_normal", logit_mean=mean)
        means[mean] = batch(model, 256)[1].mean().item()
    torch.manual_seed(0)
    index = (torch.sigmoid(torch.randn(100_000) + 1.0) * 1000).long()
    assert means[1.0] == pytest.approx(FlowMatchEulerDiscreteScheduler().timesteps[index].mean().item(), abs=15)
    assert means[1.0] < 350 < 650 < means[-1.0]


def test_any_prefix_of_draws_is_well_spread_over_the_density():
    times = FlowTimes(1000, 3.0, "logit_normal")
    t = torch.cat([Draws(5, times=times)(["a"], [k], (1,))[0] for k in range(32)])
    sigma = t.double().numpy() / 1000
    u = 1 - sigma / (3 - 2 * sigma)
    v = np.sort([0.5 * math.erfc(-math.log(p / (1 - p)) / math.sqrt(2)) for p in u.clip(1e-9, 1 - 1e-3)])
    assert (np.abs(v - (np.arange(32) + 0.5) / 32) < 1 / 16).all()


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_picture_is_that_of_the_scheduler(network, dynamic):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic)
    model = flow(network, scheduler, **({"shift": 1.0} if dynamic else {}))
    drawn = draw_pictures(model, SamplerConfig(method="euler", steps=5, clip=False), ["3/1"])
    own, x = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config), picture_noise([(3, 1)], 0, (2, 4, 4))
    own.set_timesteps(5, **({"mu": 0.5 + 0.65 * (4 - 256) / (4096 - 256)} if dynamic else {}))
    with torch.no_grad():
        for t in own.timesteps:
            x = own.step(network(x, t.expand(1)), t, x).prev_sample
    torch.testing.assert_close(drawn, x.clamp(-1, 1), rtol=1e-4, atol=1e-5)


def test_even_steps_are_those_of_the_flux_pipeline(network):
    process = FlowMatching(FlowMatchEulerDiscreteScheduler(), pipeline=FlowPipeline(even=True))
    assert process.sampling_steps(4) == [(1000.0, 750.0), (750.0, 500.0), (500.0, 250.0), (250.0, -1.0)]


def test_the_last_step_of_a_true_velocity_is_the_example(network):
    model = flow(network)
    x, _, noise = (part.double() for part in batch(model, 2))
    sampler, x_t = SamplerConfig(method="euler", clip=False), noise
    for t, s in model.process.sampling_steps(3):
        x_t = model.process.step(sampler, x_t, noise - x, t, s)
    torch.testing.assert_close(x_t, x)


def test_a_dynamic_shift_must_be_said(network):
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    with pytest.raises(ConfigError, match="is dynamic, and it is not said how"):
        flow(network, scheduler)
    assert flow(network, scheduler, mu=1.15).process.times.shift == pytest.approx(math.exp(1.15))
    linear = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear")
    assert flow(network, linear, mu=1.15).process.times.shift == 1.15
    times, sigma = flow(network, scheduler, mu=0.8).process.times.table / 1000, torch.arange(1000, 0, -1) / 1000
    torch.testing.assert_close(times, scheduler.time_shift(0.8, 1.0, sigma))


def test_solvers_with_flow_sigmas_have_the_same_times(network):
    scheduler = UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0, final_sigmas_type="zero"
    )
    model = flow(network, scheduler)
    assert model.process.times == flow(network).process.times
    assert model.process.not_followed == ("the solver of UniPCMultistepScheduler",)


REFUSED = {
    "inverted": (
        lambda n: flow(n, FlowMatchEulerDiscreteScheduler(invert_sigmas=True)),
        ModelError,
        "no scheduler of a",
    ),
    "min-SNR": (lambda n: flow(n, snr_gamma=5.0), ConfigError, "snr_gamma means nothing for a flow matching"),
    "density": (
        lambda n: flow(n, DDPMScheduler(), density="mode"),
        ConfigError,
        "density means nothing for a var",
    ),
    "both shifts": (lambda n: flow(n, shift=1.0, mu=1.0), ConfigError, "two ways to say the shift"),
    "sampler": (lambda n: flow(n).process.sampling_steps(3, "ddim"), ConfigError, "draws by euler"),
    "euler": (lambda n: flow(n, DDPMScheduler()).process.sampling_steps(3, "euler"), ConfigError, "by ddim or ddpm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_mean_nothing_are_refused(name, network):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make(network)


def test_every_setting_is_part_of_the_fingerprint(network):
    settings = (
        *({}, {"density": "logit_normal"}, {"density": "logit_normal", "logit_mean": 1.0}, {"density": "mode"}),
        *({"weighting": "cosmap"}, {"precondition": True}, {"shift": 1.0}, {"noise_offset": 0.1}),
    )
    models = [flow(network, **own) for own in settings]
    assert len({fingerprint(model) for model in models}) == len(models)
    assert "density = logit_normal, logit_mean = 1.0" in models[2].process.stated


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weights_are_those_of_the_trainers(network, prediction):
    from diffusers.training_utils import compute_snr

    scheduler = DDPMScheduler(prediction_type=prediction)
    process, t = VariancePreserving(scheduler, ProcessConfig(snr_gamma=5.0)), torch.tensor([0, 100, 500, 999])
    snr = compute_snr(scheduler, t)
    least = snr.clamp(max=5.0)
    expected = {"epsilon": least / snr, "v_prediction": least / (snr + 1), "sample": least}[prediction]
    torch.testing.assert_close(process.weight(t).float(), expected, rtol=1e-4, atol=0)
    plain = VariancePreserving(scheduler)
    assert plain.record() == {"timesteps": 1000, "prediction": prediction}
    assert process.digest != plain.digest


def test_an_offset_of_the_noise_is_one_number_for_each_channel():
    plain, offset = Draws(0)(["a", "b"], [0, 3], (2, 4, 4)), Draws(0, offset=0.1)(["a", "b"], [0, 3], (2, 4, 4))
    added = offset[1] - plain[1]
    assert torch.equal(plain[0], offset[0])
    torch.testing.assert_close(added, added[:, :, :1, :1].expand_as(added), atol=1e-6, rtol=0)
    assert added[0, 0, 0, 0] != added[0, 1, 0, 0] != added[1, 0, 0, 0]
    assert Draws(0).record() == {"seed": 0, "timesteps": 1000, "shared": False, "antithetic": False}


def test_outputs_of_canonical_batches_take_times_that_are_no_integers(network):
    model = flow(network)
    x, t, _ = batch(model)
    with torch.no_grad():
        torch.testing.assert_close(predict(network, x, t, 4), network(x, t))
