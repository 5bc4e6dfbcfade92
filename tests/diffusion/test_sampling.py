import itertools

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler

from whence.config import ModelConfig, SamplerConfig
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw, picture_noise
from whence.diffusion.variance_preserving import VariancePreserving
from whence.engine import Engine
from whence.ensemble import MeanPrediction
from whence.ensemble.members import NetworkMembers
from whence.errors import ConfigError, NotFiniteError

PREDICTIONS = ["epsilon", "v_prediction", "sample"]


def model(**settings) -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(**({"channels": (8, 16)} | settings)), (1, 8, 8), 0)


def schedule_only(prediction: str, schedule: str, timesteps: int = 1000) -> DiffusionModel:
    return model(channels=(8,), prediction=prediction, schedule=schedule, timesteps=timesteps)


def inputs():
    source = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 1, 8, 8, generator=source, dtype=torch.float64).unbind()


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("count", [4, 7, 1000])
def test_a_ddpm_step_is_that_of_diffusers(prediction, clip, schedule, count):
    """The same noise on both sides: diffusers takes it from a generator that is asked again here.

    Its ᾱ are made float64, since 1 - ᾱ of float32 has an error of 1e-3 at the first timesteps.
    """
    made, config = schedule_only(prediction, schedule), SamplerConfig(steps=count, clip=clip)
    theirs = DDPMScheduler.from_config(
        made.scheduler.config, clip_sample=clip, variance_type="fixed_small", timestep_spacing="trailing"
    )
    theirs.alphas_cumprod = theirs.alphas_cumprod.double()
    theirs.set_timesteps(count)
    x, output = inputs()
    steps = made.process.sampling_steps(config.steps)
    for t, s in {steps[0], steps[1], steps[len(steps) // 2], steps[-2], steps[-1]}:
        expected = theirs.step(output, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
        found = made.process.step(config, x, output, t, s, noise if s >= 0 else None)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9), (t, s)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("count", [4, 50, 1000])
def test_a_ddim_step_is_that_of_diffusers(prediction, clip, schedule, count):
    made = schedule_only(prediction, schedule)
    config = SamplerConfig(steps=count, clip=clip, method="ddim")
    theirs = DDIMScheduler.from_config(
        made.scheduler.config, clip_sample=clip, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    theirs.alphas_cumprod = theirs.alphas_cumprod.double()
    theirs.set_timesteps(count)
    x, output = inputs()
    steps = made.process.sampling_steps(config.steps)
    for t, s in {steps[0], steps[1], steps[-2], steps[-1]}:
        expected = theirs.step(output, t, x, eta=0.0, use_clipped_model_output=True).prev_sample
        found = made.process.step(config, x, output, t, s, noise=None)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9), (t, s)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50, 999, 1000])
def test_timesteps_are_those_of_diffusers(count):
    made = schedule_only("epsilon", "linear")
    theirs = DDPMScheduler.from_config(made.scheduler.config)
    theirs.set_timesteps(count)
    found = made.process.sampling_steps(count)
    assert [t for t, _ in found] == theirs.timesteps.tolist()
    assert [s for _, s in found] == [*theirs.timesteps.tolist()[1:], -1]
    assert all(t > s for t, s in found)


def test_more_steps_than_timesteps_are_refused():
    with pytest.raises(ConfigError, match=r"11 sampling steps .*; the model has 10 timesteps"):
        schedule_only("epsilon", "linear", 10).process.sampling_steps(11)


def predict(made: DiffusionModel, count: int, batch_size: int) -> MeanPrediction:
    return MeanPrediction(NetworkMembers({0: made.network}), [(0,)] * count, batch_size)


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_a_whole_picture_against_a_plain_loop(method):
    """One picture, step by step, with diffusers' scheduler and Whence's noise."""
    made, count = model(timesteps=100), 5
    config = SamplerConfig(steps=count, method=method, batch_size=1, clip=True)
    found = draw(predict(made, 1, 1), made, config, [(7, 3)])
    eta = 1.0 if method == "ddpm" else 0.0
    theirs = DDIMScheduler.from_config(
        made.scheduler.config, clip_sample=True, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    theirs.set_timesteps(count)
    x = picture_noise([(7, 3)], 0, made.size).double()
    for k, t in enumerate(theirs.timesteps):
        with torch.no_grad():
            output = made.network(x.float(), t).sample.double()
        noise = picture_noise([(7, 3)], k + 1, made.size).double()
        x = theirs.step(output, int(t), x, eta=eta, use_clipped_model_output=True, variance_noise=noise).prev_sample
    assert torch.allclose(found, x.clamp(-1, 1).float(), atol=1e-5)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_the_same_call_gives_the_same_bytes(method):
    made, config = model(), SamplerConfig(steps=3, batch_size=4, method=method)
    names = [(0, 0), (0, 1), (5, 0)]
    first, second = (draw(predict(made, 3, 4), made, config, names) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


@pytest.mark.parametrize("batch_size", [1, 3, 4, 16])
def test_a_picture_is_independent_of_its_neighbours_and_of_order(batch_size):
    made, config = model(), SamplerConfig(steps=3, batch_size=batch_size)
    names = [(0, index) for index in range(9)]
    together = draw(predict(made, 9, batch_size), made, config, names)
    backwards = draw(predict(made, 9, batch_size), made, config, names[::-1])
    assert torch.equal(together, backwards.flip(0))
    for index in (0, 4, 8):
        alone = draw(predict(made, 1, batch_size), made, config, [(0, index)])
        assert torch.equal(together[index], alone[0])


def test_another_batch_size_agrees_to_a_bound():
    """Measured 1e-6 on pictures in [-1, 1]; the bound leaves room for other machines."""
    made = model()
    names = [(0, index) for index in range(6)]
    pictures = [
        draw(predict(made, 6, size), made, SamplerConfig(steps=20, batch_size=size), names) for size in (1, 4, 16)
    ]
    for other in pictures[1:]:
        assert (pictures[0] - other).abs().max().item() < 1e-4


def test_progress_is_reported():
    made, seen = model(), []
    draw(
        predict(made, 1, 1),
        made,
        SamplerConfig(steps=3, batch_size=1),
        [(0, 0)],
        Engine(report=lambda done, total: seen.append((done, total))),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_picture_that_is_not_finite_is_named():
    made, names = model(), [(0, 0), (4, 2)]

    def output(x, t):
        result = x.double()
        result[1] = torch.nan
        return result

    with pytest.raises(NotFiniteError, match=r"Picture 4/2 is not finite \(1 of 2 pictures\)"):
        draw(output, made, SamplerConfig(steps=2), names)


FOLLOWED = {
    "clip_sample_range": ({"clip_sample": True, "clip_sample_range": 0.4}, 4),
    "set_alpha_to_one": ({"clip_sample": True, "set_alpha_to_one": False}, 5),
    "linspace": ({"clip_sample": False, "timestep_spacing": "linspace"}, 7),
    "leading": ({"clip_sample": True, "timestep_spacing": "leading", "steps_offset": 1}, 4),
    "leading, not a divisor": ({"clip_sample": True, "timestep_spacing": "leading", "steps_offset": 1}, 60),
    "trailing, not a divisor": ({"clip_sample": False, "timestep_spacing": "trailing"}, 60),
}


@pytest.mark.parametrize(("settings", "count"), FOLLOWED.values(), ids=FOLLOWED)
def test_settings_of_the_models_scheduler_are_followed(settings, count):
    """One picture, step by step, against the scheduler itself."""
    theirs = DDIMScheduler.from_config(model(timesteps=100).scheduler.config, **settings)
    made = DiffusionModel(model(timesteps=100).network, theirs)
    config = SamplerConfig(steps=count, method="ddim", batch_size=1, clip=settings["clip_sample"])
    found = draw(predict(made, 1, 1), made, config, [(7, 3)])
    theirs.set_timesteps(count)
    x = picture_noise([(7, 3)], 0, made.size).double()
    for t in theirs.timesteps:
        with torch.no_grad():
            output = made.network(x.float(), t).sample.double()
        x = theirs.step(output, int(t), x, eta=0.0, use_clipped_model_output=True).prev_sample
    assert torch.allclose(found, x.clamp(-1, 1).float(), atol=1e-5)
    assert made.process.not_followed == ()


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_ddim_steps_are_those_of_diffusers_whether_or_not_they_divide_the_timesteps(spacing, offset):
    """The scheduler tells its t and s by the variance that it asks for."""
    for timesteps, count in itertools.product((10, 31, 100), (*range(1, 32), 60, 99, 100)):
        theirs = DDIMScheduler(num_train_timesteps=timesteps, timestep_spacing=spacing, steps_offset=offset)
        process, found = VariancePreserving(theirs), []
        if count > timesteps:
            continue
        theirs.set_timesteps(count)
        if theirs.timesteps.max() >= timesteps:
            with pytest.raises(ConfigError, match="start after the last"):
                process.sampling_steps(count, "ddim")
            continue
        theirs._get_variance = lambda t, s, found=found: found.append((int(t), max(-1, int(s)))) or torch.tensor(0.0)
        for t in theirs.timesteps:
            theirs.step(torch.zeros(1, 1), t, torch.zeros(1, 1))
        assert process.sampling_steps(count, "ddim") == found, (timesteps, count)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (DDPMScheduler(thresholding=True), ("thresholding = True",)),
        (DDPMScheduler(variance_type="fixed_large"), ("variance_type = 'fixed_large'",)),
        (PNDMScheduler(), ("the solver of PNDMScheduler",)),
        (DDPMScheduler(), ()),
    ],
)
def test_settings_that_are_not_followed_are_named(scheduler, expected):
    assert DiffusionModel(model().network, scheduler).process.not_followed == expected
