import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from whence.config import ModelConfig, SamplerConfig
from whence.diffusion.denoiser import predict
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sampling import draw_pictures, parse_name, picture_noise, predicted_clean
from whence.engine import Engine
from whence.errors import ConfigError

PREDICTIONS = ["epsilon", "v_prediction", "sample"]
NAMES = ["0/0", "3/1", "0/7"]


def model(prediction: str = "v_prediction") -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8,), attention=0, prediction=prediction), (1, 8, 8), 0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("method", ["ddim", "ddpm"])
@pytest.mark.parametrize("clip", [True, False])
def test_the_last_prediction_is_the_picture(prediction, method, clip):
    made, config = model(prediction), SamplerConfig(method=method, steps=4, clip=clip, batch_size=2)
    timesteps, clean = predicted_clean(made, config, NAMES)
    assert timesteps == [t for t, _ in made.process.sampling_steps(config.steps)]
    assert clean.shape == (4, 3, 1, 8, 8)
    assert clean.dtype == torch.float32
    assert torch.equal(clean[-1].clamp(-1, 1), draw_pictures(made, config, NAMES))
    assert not clip or clean.abs().max() <= 1


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
def test_every_step_against_diffusers(prediction, clip):
    """DDIM, one picture, step by step, with the clean pictures that diffusers' own step returns."""
    made, config = model(prediction), SamplerConfig(method="ddim", steps=5, clip=clip, batch_size=1)
    timesteps, clean = predicted_clean(made, config, ["7/3"])
    theirs = DDIMScheduler.from_config(
        made.scheduler.config, clip_sample=clip, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    theirs.set_timesteps(5)
    assert timesteps == theirs.timesteps.tolist()
    x = picture_noise([(7, 3)], 0, made.size).double()
    for k, t in enumerate(timesteps):
        with torch.no_grad():
            output = made.network(x.float(), torch.tensor([t])).sample.double()
        done = theirs.step(output, t, x, eta=0.0, use_clipped_model_output=True)
        torch.testing.assert_close(clean[k], done.pred_original_sample.float(), rtol=1e-3, atol=1e-4)
        x = done.prev_sample


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
def test_trajectories_do_not_depend_on_each_other(method):
    made, config = model(), SamplerConfig(method=method, steps=3, batch_size=2)
    _, together = predicted_clean(made, config, NAMES)
    for q, name in enumerate(NAMES):
        assert torch.equal(predicted_clean(made, config, [name])[1][:, 0], together[:, q])


def test_observing_changes_nothing():
    made, config, seen = model(), SamplerConfig(steps=3), []
    watched = draw_pictures(made, config, NAMES, observe=lambda t, clean: seen.append((t, clean.dtype)))
    assert torch.equal(watched, draw_pictures(made, config, NAMES))
    assert seen == [(t, torch.float64) for t, _ in made.process.sampling_steps(config.steps)]


def test_dropout_is_off_and_any_module_may_draw():
    config, made = SamplerConfig(method="ddim", steps=3), model("epsilon")
    expected = draw_pictures(made, config, NAMES)
    bare = DiffusionModel(_Bare(made.network), made.scheduler, shape=(1, 8, 8))
    assert bare.network.training
    assert torch.equal(draw_pictures(bare, config, NAMES), expected)


def test_progress_is_reported():
    seen = []
    predicted_clean(
        model(), SamplerConfig(steps=2), NAMES, Engine(report=lambda done, total: seen.append((done, total)))
    )
    assert seen == [(1, 2), (2, 2)]


class _Bare(nn.Module):
    """The same network, with dropout before it, that returns a bare tensor."""

    def __init__(self, network) -> None:
        super().__init__()
        self.network, self.dropout = network, nn.Dropout(0.5)

    def forward(self, x, t):
        return self.network(self.dropout(x), t).sample


class _Wide(nn.Module):
    """Gives how many rows it was called with; a bare tensor or an object that holds it."""

    def __init__(self, bare: bool) -> None:
        super().__init__()
        self.bare = bare

    def forward(self, x, t):
        outputs = x + t[:, None] + 100 * len(x)
        return outputs if self.bare else type("Output", (), {"sample": outputs})


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 5, 9])
def test_every_batch_has_the_same_size(bare, rows):
    x, t = torch.rand(rows, 2), torch.arange(rows)
    assert torch.equal(predict(_Wide(bare), x, t, 4), x + t[:, None] + 400)


@pytest.mark.parametrize("name", ["", "0", "0/", "/0", "a/0", "0/-1", "0/1-3", "0/1234567890", "0/1\n", "²/0", " 0/0"])
def test_names_that_are_none(name):
    with pytest.raises(ConfigError, match="named SEED/INDEX"):
        parse_name(name)
