"""What enters as a DiffusionModel: schedulers, networks and folders."""

import json
import shutil

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import nn

from whence.config import ModelConfig
from whence.diffusion.denoiser import denoise
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ConfigError, ModelError, NotFiniteError

NO_ALPHA, UNSAID = "has no alphas_cumprod", "doesn't say what the network predicts"
#: Every scheduler of diffusers that is built without arguments, and why it is refused, if it is; flows have tests of
#: their own.
FLOW = "flow"
SCHEDULERS = {
    "BlockRefinementScheduler": NO_ALPHA,
    "CMStochasticIterativeScheduler": NO_ALPHA,
    "CogVideoXDDIMScheduler": None,
    "CogVideoXDPMScheduler": None,
    "ConsistencyDecoderScheduler": NO_ALPHA,
    "DDIMInverseScheduler": None,
    "DDIMParallelScheduler": None,
    "DDIMScheduler": None,
    "DDPMParallelScheduler": None,
    "DDPMScheduler": None,
    "DDPMWuerstchenScheduler": NO_ALPHA,
    "DEISMultistepScheduler": None,
    "DPMSolverMultistepInverseScheduler": None,
    "DPMSolverMultistepScheduler": None,
    "DPMSolverSinglestepScheduler": None,
    "EDMDPMSolverMultistepScheduler": NO_ALPHA,
    "EDMEulerScheduler": NO_ALPHA,
    "EulerAncestralDiscreteScheduler": None,
    "EulerDiscreteScheduler": None,
    "FlowMatchEulerDiscreteScheduler": FLOW,
    "FlowMatchHeunDiscreteScheduler": FLOW,
    "FlowMatchLCMScheduler": FLOW,
    "HeunDiscreteScheduler": None,
    "IPNDMScheduler": NO_ALPHA,
    "KDPM2AncestralDiscreteScheduler": None,
    "KDPM2DiscreteScheduler": None,
    "KarrasVeScheduler": NO_ALPHA,
    "LCMScheduler": None,
    "LMSDiscreteScheduler": None,
    "PNDMScheduler": None,
    "RePaintScheduler": UNSAID,
    "SASolverScheduler": None,
    "SCMScheduler": NO_ALPHA,
    "ScoreSdeVeScheduler": NO_ALPHA,
    "ScoreSdeVpScheduler": NO_ALPHA,
    "TCDScheduler": None,
    "UniPCMultistepScheduler": None,
    "UnCLIPScheduler": None,
    "VQDiffusionScheduler": NO_ALPHA,
}
ACCEPTED = [name for name, problem in SCHEDULERS.items() if problem is None]


def scheduler_of(name: str, **settings):
    kind = getattr(diffusers.schedulers, name, None) or pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    settings |= {"num_vec_classes": 4} if name == "VQDiffusionScheduler" else {}
    return kind(**settings)


class Small(nn.Module):
    """A denoiser that is no part of diffusers: one convolution, the timestep as a channel."""

    def __init__(self, channels=1, wrapped=False):
        super().__init__()
        self.layer, self.wrapped = nn.Conv2d(channels + 1, channels, 3, padding=1), wrapped

    def forward(self, x_t, t, **conditions):
        time = (t / 1000).reshape(-1, 1, 1, 1).expand(-1, 1, *x_t.shape[2:])
        output = self.layer(torch.cat([x_t, time], 1)) + conditions.get("shift", 0)
        return diffusers.models.unets.unet_2d.UNet2DOutput(sample=output) if self.wrapped else output


class Same(nn.Module):
    """A denoiser without weights."""

    def forward(self, x_t, t):
        return x_t


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Small()


@pytest.fixture(scope="module")
def unet():
    return DiffusionModel.new(ModelConfig(channels=(8, 16), attention=8), (1, 8, 8), seed=0).network


@pytest.fixture(scope="module")
def batch():
    source = torch.Generator().manual_seed(0)
    x = torch.rand(5, 1, 8, 8, generator=source) * 2 - 1
    return x, torch.tensor([0, 10, 300, 700, 999]), torch.randn(5, 1, 8, 8, generator=source)


@pytest.mark.parametrize("name", [name for name, problem in SCHEDULERS.items() if problem not in (None, FLOW)])
def test_a_scheduler_of_another_process_is_refused_by_name(name, small):
    with pytest.raises(ModelError, match=rf"{name} {SCHEDULERS[name]}.*Supported are .*DDPM, DDIM"):
        DiffusionModel(small, scheduler_of(name), shape=(1, 8, 8))


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_scheduler_with_alphas_gives_the_loss_of_ddpm_with_its_betas(name, small, batch):
    scheduler = scheduler_of(name)
    found = DiffusionModel(small, scheduler, shape=(1, 8, 8))
    alphas = scheduler.alphas_cumprod.double()
    betas = (1 - alphas / torch.cat([torch.ones(1).double(), alphas[:-1]])).tolist()
    expected = DiffusionModel(small, DDPMScheduler(trained_betas=betas), shape=(1, 8, 8))
    with torch.no_grad():
        assert torch.allclose(found.loss(*batch), expected.loss(*batch), rtol=1e-4)
    if scheduler.config.beta_schedule == "linear" and scheduler.config.beta_start == 0.0001:
        assert torch.allclose(alphas, DDPMScheduler().alphas_cumprod.double(), rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "num_train_timesteps": 400,
            "trained_betas": torch.linspace(1e-4, 0.04, 400).tolist(),
            "prediction_type": "v_prediction",
        },
    ],
    ids=["default", "trained betas"],
)
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_scheduler_in_a_folder_is_the_one_that_was_saved(name, settings, unet, tmp_path):
    saved = scheduler_of(name, **(settings if name != "UnCLIPScheduler" else {}))
    diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler()).save_pretrained(tmp_path)
    saved.save_pretrained(tmp_path / "scheduler")
    read = DiffusionModel.load(tmp_path)
    assert type(read.scheduler) is type(saved)
    assert torch.equal(read.process.signal_level(torch.arange(10)), saved.alphas_cumprod.double()[:10])
    assert read.process.prediction == saved.config.prediction_type
    assert read.process.timesteps == len(saved.alphas_cumprod)
    steps = read.process.sampling_steps(10)
    assert len(steps) == 10
    assert steps[-1][1] == -1
    assert all(s < t < read.process.timesteps for t, s in steps)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_sampling_steps_follow_the_spacing_of_the_scheduler(spacing, small):
    scheduler = diffusers.DPMSolverMultistepScheduler(timestep_spacing=spacing)
    expected = DDPMScheduler(timestep_spacing=spacing)
    expected.set_timesteps(7)
    model = DiffusionModel(small, scheduler, shape=(1, 8, 8))
    assert [t for t, _ in model.process.sampling_steps(7)] == expected.timesteps.tolist()


def test_an_offset_beyond_the_last_timestep_is_refused(small):
    model = DiffusionModel(small, diffusers.PNDMScheduler(steps_offset=1), shape=(1, 8, 8))
    assert model.process.sampling_steps(50)[0] == (981, 961)
    with pytest.raises(ConfigError, match="1000 sampling steps with steps_offset = 1 start after the last"):
        model.process.sampling_steps(1000)


def with_alphas(alphas):
    scheduler = DDPMScheduler(num_train_timesteps=4)
    scheduler.alphas_cumprod = torch.tensor(alphas)
    return scheduler


REFUSED = {
    "flow": (lambda: diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction"), "'flow_prediction'"),
    "flow sigmas": (
        lambda: diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, final_sigmas_type="zero"),
        "has use_flow_sigmas, so it is of a flow",
    ),
    "continuous": (
        lambda: diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"),
        "timesteps of the type 'continuous'",
    ),
    "betas of another number": (
        lambda: DDPMScheduler(trained_betas=[0.1, 0.2]),
        "has 2 values of ᾱ for num_train_timesteps = 1000",
    ),
    "betas that are one number": (
        lambda: DDPMScheduler(trained_betas=0.5),
        "has 1 values of ᾱ for num_train_timesteps = 1000",
    ),
    "zero signal": (lambda: DDPMScheduler(rescale_betas_zero_snr=True), r"ends with ᾱ = 0 \(rescale_betas_zero_snr\)"),
    "rising": (lambda: with_alphas([0.9, 0.5, 0.6, 0.1]), "doesn't fall"),
    "no noise": (lambda: with_alphas([1.0, 0.5, 0.4, 0.1]), "doesn't fall from below 1"),
    "not a number": (lambda: with_alphas([0.9, torch.nan, 0.4, 0.1]), "look at its betas"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_schedule_that_says_something_else_is_refused(name, small):
    make, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        DiffusionModel(small, make(), shape=(1, 8, 8))


def test_zero_terminal_signal_is_fine_for_a_velocity(small, batch):
    scheduler = DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    losses = DiffusionModel(small, scheduler, shape=(1, 8, 8)).loss(*batch)
    assert scheduler.alphas_cumprod[-1] == 0
    assert torch.isfinite(losses).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_custom_network_is_as_good_as_one_of_diffusers(prediction, small, batch):
    scheduler = DDPMScheduler(prediction_type=prediction)
    twin = Small(wrapped=True)
    twin.load_state_dict(small.state_dict())
    plain, wrapped = (DiffusionModel(network, scheduler, (1, 8, 8)) for network in (small, twin))
    x, t, noise = batch
    x_t = plain.process.noised(x, t, noise)
    expected = (small(x_t, t) - plain.process.target(x, t, noise)).square().mean((1, 2, 3))
    assert torch.allclose(plain.loss(*batch), expected)
    assert torch.equal(plain.loss(*batch), wrapped.loss(*batch))
    assert plain.device == torch.device("cpu")


@pytest.mark.parametrize("shape", [(7,), (4, 6, 6), (2, 3, 4, 5)])
def test_examples_of_any_shape_enter(shape):
    model = DiffusionModel(Same(), DDPMScheduler(), shape=shape)
    source = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 3, *shape, generator=source)
    t = torch.tensor([0, 500, 999])
    a = model.scheduler.alphas_cumprod[t].reshape(-1, *[1] * len(shape))
    expected = (a.sqrt() * x + (1 - a).sqrt() * noise - noise).square().flatten(1).mean(1)
    assert model.size == shape
    assert torch.allclose(model.loss(x, t, noise), expected, atol=1e-6)
    assert model.device == torch.device("cpu")


def test_conditions_reach_the_network(small, batch):
    model = DiffusionModel(small, DDPMScheduler(), shape=(1, 8, 8))
    shift = torch.arange(5.0).reshape(5, 1, 1, 1)
    x, t, noise = batch
    difference = model.output(x, t, shift=shift) - model.output(x, t)
    assert torch.allclose(difference, shift.expand_as(x), atol=1e-5)
    assert torch.equal(model.loss(*batch, shift=0 * shift), model.loss(*batch))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda x, t: (x,), "returned tuple; expected a tensor"),
        (lambda x, t: x.repeat(1, 2, 1, 1), "returned 5x2x8x8 for an input of 5x1x8x8.* learned variance"),
        (lambda x, t: x[:, :, :1], "returned 5x1x1x8 for an input of 5x1x8x8; expected the same shape"),
        (lambda x, t: x.mean(), "returned a single number for"),
    ],
)
def test_an_output_that_would_broadcast_is_refused(network, message, batch):
    with pytest.raises(ModelError, match=message):
        denoise(network, batch[0], batch[1])


def test_the_shape_must_come_from_somewhere(small, unet):
    with pytest.raises(ModelError, match=r"Small has no config with .* shape=\(C, H, W\)"):
        DiffusionModel(small, DDPMScheduler()).size  # noqa: B018
    assert DiffusionModel(unet, DDPMScheduler()).size == (1, 8, 8)
    assert DiffusionModel(unet, DDPMScheduler(), shape=(1, 16, 16)).size == (1, 16, 16)


def test_a_network_of_ones_own_is_not_saved_as_a_folder_of_diffusers(small, tmp_path):
    with pytest.raises(ModelError, match="A Small can't be saved as a diffusers folder"):
        DiffusionModel(small, DDPMScheduler(), (1, 8, 8)).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def _flat(unet, folder):
    """All files in one folder, as the first pipelines on the Hub."""
    diffusers.DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            shutil.move(file, folder / file.name)
        (folder / part).rmdir()


def _bare(unet, folder):
    unet.save_pretrained(folder)
    DDPMScheduler().save_pretrained(folder)


def _pipeline(**settings):
    def save(unet, folder):
        DDPMScheduler().save_pretrained(folder / "scheduler")
        (folder / "model_index.json").write_text(
            json.dumps({"_class_name": "MyPipeline", "unet": ["diffusers", "UNet2DModel"]})
        )
        unet.save_pretrained(folder / "unet", **settings)

    return save


LAYOUTS = {
    "shards": _pipeline(max_shard_size="20KB"),
    "fp16": _pipeline(variant="fp16"),
    "shards of fp16": _pipeline(variant="fp16", max_shard_size="20KB"),
    "one of two variants": lambda unet, folder: [_pipeline(variant=v)(unet, folder) for v in (None, "non_ema")],
    "flat": _flat,
    "network and scheduler in one folder": _bare,
}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_network_in_float32(name, half, unet, tmp_path, batch):
    network = UNet2DModel.from_config(unet.config)
    network.load_state_dict({key: (p.half() if half else p).float() for key, p in unet.state_dict().items()})
    LAYOUTS[name](network.half() if half else network, tmp_path)
    read = DiffusionModel.load(tmp_path)
    assert read.size == (1, 8, 8)
    assert {p.dtype for p in read.network.parameters()} == {torch.float32}
    assert not read.network.training
    x, t, _ = batch
    with torch.no_grad():
        assert torch.equal(read.output(x, t), network.float().eval()(x, t).sample)


def _edit(file, **values):
    def edit(folder):
        found = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(found | values))

    return edit


def _nan(folder):
    network = UNet2DModel.from_pretrained(folder / "unet")
    network.mid_block.resnets[0].conv1.weight.data[0, 0, 0, 0] = torch.nan
    network.save_pretrained(folder / "unet")


def _weights(drop):
    def change(folder):
        tensors = load_file(folder / NETWORK_FILE)
        kept = {key: value for key, value in tensors.items() if key != "conv_in.bias"}
        save_file(kept if drop else tensors | {"another": torch.zeros(1)}, folder / NETWORK_FILE)

    return change


def _two_variants(folder):
    network = UNet2DModel.from_pretrained(folder / "unet")
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    for variant in ("fp16", "non_ema"):
        network.save_pretrained(folder / "unet", variant=variant)


FOLDERS = {
    "nan": (_nan, NotFiniteError, "weights mid_block.resnets.0.conv1.weight of the network in .* not finite"),
    "missing weights": (_weights(drop=True), ArtefactError, r"not those of .*missing keys: conv_in.bias \(1 in all"),
    "more weights": (_weights(drop=False), ArtefactError, "not those of the network .*unexpected keys: another"),
    "larger network": (_edit("unet/config.json", layers_per_block=2), ArtefactError, "can't be opened by diffusers"),
    "two variants": (_two_variants, ArtefactError, r"weights of 2 variants \(fp16, non_ema\)"),
    "learned variance": (_edit("unet/config.json", out_channels=2), ModelError, "learned variance.*from Python"),
    "more inputs": (_edit("unet/config.json", in_channels=3), ModelError, "returns 1 channels for 3"),
    "classes": (_edit("unet/config.json", num_class_embeds=10), ArtefactError, "missing keys: class_embedding.weight"),
    "class types": (_edit("unet/config.json", class_embed_type="identity"), ModelError, "needs classes in a form"),
    "noise levels": (_edit("unet/config.json", time_embedding_type="fourier"), ModelError, "variance exploding"),
    "no size": (_edit("unet/config.json", sample_size=None), ModelError, r"shape=\(C, H, W\)"),
    "latents": (_edit("model_index.json", vqvae=["diffusers", "VQModel"]), ModelError, "latents of its vqvae"),
    "no unet": (_edit("model_index.json", unet=None), ArtefactError, "has no .*UNet2DModel.*says None.*from Python"),
    "list": (lambda folder: (folder / "model_index.json").write_text("[]"), ArtefactError, "holds no mapping"),
    "no scheduler": (lambda folder: shutil.rmtree(folder / "scheduler"), ArtefactError, r"scheduler.save_pretrained\("),
    "unknown scheduler": (
        _edit("scheduler/scheduler_config.json", _class_name="MyScheduler"),
        ArtefactError,
        "class 'MyScheduler', which is no scheduler of diffusers",
    ),
    "no class": (_edit("scheduler/scheduler_config.json", _class_name="UNet2DModel"), ArtefactError, "no scheduler of"),
    "noise that explodes": (
        _edit("scheduler/scheduler_config.json", _class_name="EDMEulerScheduler"),
        ModelError,
        "EDMEulerScheduler has no alphas_cumprod",
    ),
    "schedule": (_edit("scheduler/scheduler_config.json", beta_schedule="mine"), ArtefactError, "mine is not impl"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_refused_with_the_way_out(name, unet, tmp_path):
    damage, kind, message = FOLDERS[name]
    diffusers.DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(kind, match=message):
        DiffusionModel.load(tmp_path)


@pytest.mark.parametrize("name", ["UNet1DModel", "AutoencoderKL"])
def test_the_folder_of_another_network_is_refused(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ArtefactError, match=rf"has no .* or UNet2DModel; its config.json says '{name}'"):
        DiffusionModel.load(tmp_path)


def test_a_network_without_a_scheduler_says_how_to_add_one(unet, tmp_path):
    unet.save_pretrained(tmp_path)
    with pytest.raises(ArtefactError, match=r"has no scheduler .* Save the one .*scheduler.save_pretrained\("):
        DiffusionModel.load(tmp_path)


def test_a_shape_fills_in_what_a_configuration_leaves_open(unet, tmp_path):
    diffusers.DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    _edit("unet/config.json", sample_size=None)(tmp_path)
    assert DiffusionModel.load(tmp_path, shape=(1, 12, 12)).size == (1, 12, 12)
