"""Sana, FLUX.2 [klein] and Qwen-Image, held against the pipelines of diffusers and against plain autograd."""

import copy
import inspect
import json
import runpy
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict

from whence.attribution.queries import draw_queries
from whence.config import Config, SamplerConfig
from whence.data import Dataset
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.denoiser import denoise
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import picture_noise
from whence.diffusion.training import train
from whence.errors import ArtefactError, ModelError
from whence.gradients.collector import Collector, check
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage
from whence.gradients.product_layers import ProductLayer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

MAKE = runpy.run_path(str(Path(__file__).parent.parent / "flow_pipelines.py"))
#: Sides of the pictures of the small pipelines, and layers of their networks that get an adapter.
FAMILIES = {
    "sana": (32, ["to_q", "to_k", "to_v", "to_out.0", "linear_1", "proj_out"]),
    "flux_2": (16, ["to_q", "add_v_proj", "to_out.0", "attn.to_qkv_mlp_proj", "linear_out"]),
    "qwen_image": (16, ["to_q", "to_k", "add_v_proj", "to_add_out", "img_mod.1"]),
}
CAPTIONS = ("a cat", None, "A dog ")
TEXTS = [caption or "" for caption in CAPTIONS]


@pytest.fixture(scope="module", params=FAMILIES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name, tmp_path_factory) -> Path:
    return MAKE[name](tmp_path_factory.mktemp("newest") / name)


@pytest.fixture(scope="module")
def checked(name, folder) -> PipelineCheck:
    return PipelineCheck.open(folder, prompt="a cat", size=(FAMILIES[name][0],) * 2)


@pytest.fixture(scope="module")
def model(checked) -> DiffusionModel:
    return checked.model


@pytest.fixture(scope="module")
def data(name) -> Dataset:
    side = FAMILIES[name][0]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, side, side), dtype=np.uint8)
    return Dataset(tuple("abc"), pixels, tuple((id,) for id in "abc"), CAPTIONS)


@pytest.fixture(scope="module")
def examples(model, data):
    return Encoders.of(model).encode(data)


@pytest.fixture(scope="module")
def theirs(checked) -> dict[str, torch.Tensor]:
    """The conditions of the captions, one after the other, in the pipeline's own words."""
    with torch.no_grad():
        found = [checked.reference.conditions(text) for text in TEXTS]
    return {key: torch.cat([one[key] for one in found]) for key in found[0]}


def test_conditions_and_latents_are_the_pipelines_own(checked, examples, data, theirs):
    ours = examples.conditions_of(range(3))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        latents = checked.reference.latents(torch.from_numpy(data.pixels).float() / 127.5 - 1)
    torch.testing.assert_close(examples.tensor, latents, atol=1e-5, rtol=1e-4)
    states = next(iter(ours.values()))
    assert not torch.allclose(states[0], states[2])


def test_the_loss_is_that_of_a_few_lines(checked, model, examples, theirs):
    """As the trainers of diffusers have it: uniform times without a shift, the velocity, no weights."""
    assert model.process.record() == {
        "timesteps": 1000,
        "prediction": "flow_prediction",
        "density": "uniform",
        "weighting": "none",
        "precondition": False,
        "shift": 1.0,
    }
    t, noise = model.process.draws(4)(examples.ids, [0, 1, 2], model.size)
    x, sigma = examples.x(range(3)), (t / 1000).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        ours = model.loss(x, t, noise, **examples.conditions_of(range(3)))
        found = checked.reference.output((1 - sigma) * x + sigma * noise, t, theirs)
    torch.testing.assert_close(ours, (found - (noise - x)).square().mean((1, 2, 3)), rtol=1e-5, atol=1e-5)
    assert ((ours - (found - noise).square().mean((1, 2, 3))).abs() > 0.05 * ours).all()


def test_a_picture_drawn_without_guidance_is_the_pipelines_own(checked, model):
    sampler = SamplerConfig(method="euler", steps=3, clip=False, batch_size=1)
    queries = draw_queries(model, ("5/0",), sampler, Prompts(("a cat",), guidance=1.0))
    theirs = checked.reference.drawn(picture_noise([(5, 0)], 0, model.size), "a cat", 1.0, 3)
    torch.testing.assert_close(queries.values, theirs, atol=1e-4, rtol=1e-4)


def test_latents_are_decoded_as_by_the_pipeline(name, model, checked):
    x = picture_noise([(5, 0)], 0, model.size)
    vae = checked.pipeline.vae
    with torch.no_grad():
        if name == "qwen_image":
            mean, deviation = (
                torch.tensor(one).view(1, -1, 1, 1, 1) for one in (vae.config.latents_mean, vae.config.latents_std)
            )
            pictures = vae.decode(x[:, :, None] * deviation + mean).sample[:, :, 0]
        elif name == "flux_2":
            deviation = (vae.bn.running_var + vae.config.batch_norm_eps).sqrt().view(1, -1, 1, 1)
            z = x * deviation + vae.bn.running_mean.view(1, -1, 1, 1)
            pictures = vae.decode(checked.pipeline._unpatchify_latents(z)).sample
        else:
            pictures = vae.decode(x / vae.config.scaling_factor).sample
    expected = ((pictures.clamp(-1, 1) + 1) * 127.5).round().numpy()
    assert np.abs(model.codec.decode(x).astype(float) - expected).max() <= 1


def test_guidance_that_is_not_said_is_that_of_the_pipeline(checked, model):
    usual = {key: one.default for key, one in inspect.signature(type(checked.pipeline).__call__).parameters.items()}
    assert model.text.guidance == usual.get("true_cfg_scale", usual["guidance_scale"])


def test_every_layer_is_differentiated_example_by_example_as_autograd_does(model, examples):
    network, conditions = copy.deepcopy(model.network), examples.conditions_of(range(3))
    cover = coverage(network)
    assert cover.size == sum(parameter.numel() for parameter in network.parameters())
    x_t, t = picture_noise([(5, n) for n in range(3)], 0, model.size), torch.tensor([100.0, 500.0, 900.0])
    whole = maps(cover, Compression(kind="none"), device=x_t.device)
    (features,) = Collector(network, cover, whole)(x_t, t, [lambda output: 2 * output], conditions=conditions)
    for n in range(3):
        network.zero_grad()
        one = {key: value[[n]] for key, value in conditions.items()}
        denoise(network, x_t[[n]], t[[n]], **one).square().sum().backward()
        for key, (_, place) in whole.by_layer.items():
            layer, gradient = cover.layers[key], features[n, place]
            shaped = gradient.reshape(layer.outputs, layer.inputs) if isinstance(layer, ProductLayer) else gradient
            for parameter, value in layer.by_parameter(shaped).items():
                own = getattr(cover.modules[key], parameter).grad
                expected = torch.zeros_like(value) if own is None else own
                torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4, msg=f"{key}.{parameter}")
    check(network, cover, x_t, t, lambda output: 2 * output, conditions)


def test_a_fresh_network_of_the_family_is_called_in_the_same_way(model, examples):
    with torch.no_grad():
        output = model.untrained(1).output(
            torch.zeros(3, *model.size), torch.full((3,), 500.0), **examples.conditions_of(range(3))
        )
    assert output.shape == (3, *model.size)


def test_whence_check_agrees_with_a_file_of_diffusers(name, folder, tmp_path):
    side, targets = FAMILIES[name]
    kind = getattr(diffusers, json.loads((folder / "model_index.json").read_text())["_class_name"])
    pipe = kind.from_pretrained(folder, local_files_only=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe.transformer.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=targets, init_lora_weights=False))
    metadata = {"transformer_lora_adapter_metadata": pipe.transformer.peft_config["default"].to_dict()}
    kind.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(pipe.transformer), **metadata)
    adapted = PipelineCheck.open(
        folder, [Adapter(tmp_path / "pytorch_lora_weights.safetensors", 0.5)], size=(side, side)
    )
    comparisons = {one.what: one for one in adapted.compare()}
    assert comparisons.keys() == {"embedded prompt", "latents", "loss", "drawn picture"}
    assert all(one.agrees for one in comparisons.values()), comparisons
    x, t, conditions = torch.ones(1, *adapted.model.size), torch.tensor([500.0]), adapted.model.text.conditions(["a"])
    with torch.no_grad():
        plain = DiffusionModel.load(folder, adapted.model.size).output(x, t, **conditions)
        assert (adapted.model.output(x, t, **conditions) - plain).abs().max() > 1e-2


def test_an_adapter_is_trained(name, folder, data, tmp_path):
    config = Config().updated("training", steps=2, batch_size=2, warmup=1, checkpoints=1, learning_rate=3e-2)
    config = config.updated("adapter", rank=2, resolution=FAMILIES[name][0])
    train(data, tmp_path / "run", config, base=folder)
    run = AdapterRun.open(tmp_path / "run")
    model, base = run.checkpoint().open(), DiffusionModel.load(folder, run.checkpoint().open().size)
    conditions = run.encoders.encode(data).conditions_of(range(3))
    x, t = torch.randn(3, *model.size), torch.tensor([100.0, 500.0, 900.0])
    with torch.no_grad():
        assert (model.output(x, t, **conditions) - base.output(x, t, **conditions)).abs().max() > 0


def edited(folder: Path, file: str, **changes: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


REFUSED = {
    "sana": (lambda f: edited(f, "transformer/config.json", guidance_embeds=True), ModelError, "Sana Sprint"),
    "flux_2": (lambda f: (f / "tokenizer" / "chat_template.jinja").unlink(), ArtefactError, "no template of a chat"),
    "qwen_image": (lambda f: edited(f, "transformer/config.json", zero_cond_t=True), ModelError, "has zero_cond_t"),
}


def test_folders_that_are_refused(name, folder, tmp_path):
    change, error, message = REFUSED[name]
    copied = shutil.copytree(folder, tmp_path / "copy")
    change(copied)
    with pytest.raises(error, match=message):
        DiffusionModel.load(copied, (4, 8, 8)).text.conditions(["a cat"])


def test_a_distilled_model_is_not_guided_unless_it_is_said(tmp_path):
    folder = MAKE["flux_2"](tmp_path / "distilled", distilled=True)
    assert Encoders.of(folder).text.guidance == 1.0
    edited(folder, "transformer/config.json", guidance_embeds=True)
    with pytest.raises(ModelError, match=r"FLUX.2 \[dev\]"):
        DiffusionModel.load(folder)
