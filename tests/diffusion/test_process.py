import json

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from whence.config import ModelConfig
from whence.diffusion.checks import require_finite
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ConfigError, ModelError, NotFiniteError

PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]


def model(size=(1, 8, 8), seed=0, **settings) -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(**({"channels": (8, 16)} | settings)), size, seed)


def batch(count=5, size=(1, 8, 8), timesteps=1000):
    source = torch.Generator().manual_seed(0)
    x = torch.rand(count, *size, generator=source) * 2 - 1
    t = torch.linspace(0, timesteps - 1, count).long()
    return x, t, torch.randn(count, *size, generator=source)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noised_equals_add_noise_of_diffusers(schedule):
    made, (x, t, noise) = model(schedule=schedule), batch()
    assert torch.allclose(made.process.noised(x, t, noise), made.scheduler.add_noise(x, noise, t), atol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_equals_that_of_diffusers(prediction):
    made, (x, t, noise) = model(prediction=prediction), batch()
    expected = {"epsilon": noise, "sample": x, "v_prediction": made.scheduler.get_velocity(x, noise, t)}
    assert torch.allclose(made.process.target(x, t, noise), expected[prediction], atol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_clean_of_the_target_recovers_the_image(prediction, schedule):
    """Exact up to rounding, which epsilon at the last timesteps divides by a small number: float64."""
    made, (x, t, noise) = model(prediction=prediction, schedule=schedule), batch()
    x, noise = x.double(), noise.double()
    clean = made.process.clean(made.process.target(x, t, noise), made.process.noised(x, t, noise), t)
    assert torch.allclose(clean, x, atol=1e-7)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_against_a_loop(prediction):
    made, (x, t, noise) = model(prediction=prediction), batch()
    with torch.no_grad():
        found = made.loss(x, t, noise)
        for n in range(len(x)):
            a = made.scheduler.alphas_cumprod[t[n]].item()
            x_t = a**0.5 * x[n] + (1 - a) ** 0.5 * noise[n]
            output = made.network(x_t[None], t[n]).sample[0]
            target = {
                "epsilon": noise[n],
                "sample": x[n],
                "v_prediction": a**0.5 * noise[n] - (1 - a) ** 0.5 * x[n],
            }[prediction]
            errors = [(o - y) ** 2 for o, y in zip(output.flatten().tolist(), target.flatten().tolist(), strict=True)]
            assert found[n].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert found.shape == (len(x),)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((1, 8, 8), {}),
        ((3, 16, 16), {}),
        ((3, 32, 32), {}),
        ((3, 64, 64), {}),
        ((1, 8, 16), {"channels": (8, 16)}),
        ((3, 16, 16), {"channels": (8, 16, 24), "attention": 8}),
        ((1, 8, 8), {"channels": (16,), "attention": 8, "layers": 2}),
        ((1, 4, 4), {"channels": (32, 48), "groups": 16}),
    ],
)
def test_sizes_build_and_run(size, settings):
    made = DiffusionModel.new(ModelConfig(**settings), size, 0)
    with torch.no_grad():
        output = made.network(torch.zeros(1, *size), torch.tensor([3])).sample
    assert output.shape == (1, *size)
    assert torch.isfinite(output).all()
    assert made.size == size


@pytest.mark.parametrize(
    ("size", "settings", "message"),
    [
        ((1, 9, 9), {"channels": (8, 16)}, "2 levels need sides divisible by 2; the images are 1x9x9"),
        ((1, 28, 28), {"channels": (8, 8, 8, 8)}, "4 levels need sides divisible by 8"),
        ((1, 8, 6), {"channels": (8, 8, 8)}, "divisible by 4; the images are 1x8x6"),
        ((1, 8, 8), {"channels": (8, 12)}, r"channels \(8, 12\) must be divisible by groups 8"),
    ],
)
def test_an_impossible_network_is_refused(size, settings, message):
    with pytest.raises(ConfigError, match=message):
        DiffusionModel.new(ModelConfig(**settings), size, 0)


def weights(made: DiffusionModel) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in made.network.parameters()])


def test_a_new_model_is_a_function_of_the_seed_only():
    torch.manual_seed(1)
    first = weights(model(seed=4))
    torch.manual_seed(2)
    assert torch.equal(first, weights(model(seed=4)))
    assert not torch.equal(first, weights(model(seed=5)))


def test_a_new_model_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    model(seed=4)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_saved_model_reads_back(tmp_path, prediction):
    made = model(prediction=prediction, timesteps=50, schedule="linear")
    made.save(tmp_path / "m")
    read = DiffusionModel.load(tmp_path / "m")
    assert torch.equal(weights(made), weights(read))
    assert made.process.digest == read.process.digest
    assert (read.process.timesteps, read.process.prediction, read.size) == (50, prediction, (1, 8, 8))
    assert not read.network.training


def test_diffusers_opens_what_is_saved_and_draws(tmp_path):
    made = model(size=(3, 8, 8))
    made.save(tmp_path / "m")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "m")
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(
        batch_size=2, num_inference_steps=3, output_type="np", generator=torch.Generator().manual_seed(0)
    ).images
    assert pictures.shape == (2, 8, 8, 3)
    assert isinstance(pipeline.scheduler, DDPMScheduler)


def damaged_index(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"][1] = "UNet2DConditionModel"
    (folder / "model_index.json").write_text(json.dumps(index))


def only_bin(folder):
    (folder / NETWORK_FILE).unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")


def truncated(folder):
    (folder / NETWORK_FILE).write_bytes((folder / NETWORK_FILE).read_bytes()[:-100])


DAMAGE = {
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "model_index.json does not exist"),
    "another class": (damaged_index, "is a DDPMPipeline; of the pipelines with a UNet2DConditionModel"),
    "pickled weights": (only_bin, r"safetensors is missing. Weights in .bin files are pickled and not read"),
    "truncated weights": (truncated, "can't be opened by diffusers"),
    "no network config": (lambda folder: (folder / "unet/config.json").unlink(), "unet/config.json does not exist"),
    "no scheduler": (
        lambda folder: (folder / "scheduler/scheduler_config.json").unlink(),
        "has no scheduler .*scheduler_config.json does not exist",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_load_refuses(tmp_path, name):
    damage, message = DAMAGE[name]
    model().save(tmp_path / "m")
    damage(tmp_path / "m")
    with pytest.raises((ArtefactError, ModelError), match=message):
        DiffusionModel.load(tmp_path / "m")


def test_a_nan_names_the_layer_and_the_examples():
    made, (x, t, noise) = model(), batch()
    made.network.mid_block.resnets[0].conv1.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError) as caught:
        require_finite(made, x, t, noise, list("abcde"), "training step 3")
    message = str(caught.value)
    assert "in training step 3, for a, b, c, d, e." in message
    assert "is mid_block.resnets.0.conv1; the weights of mid_block.resnets.0.conv1.weight" in message


def test_a_nan_in_an_image_names_that_image_alone():
    made, (x, t, noise) = model(), batch()
    x[2, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"for c\. .* is conv_in; its weights are finite"):
        require_finite(made, x, t, noise, list("abcde"), "here")


def test_finite_losses_pass():
    made, (x, t, noise) = model(), batch()
    require_finite(made, x, t, noise, list("abcde"), "here")
    assert not any(layer._forward_hooks for layer in made.network.modules())
