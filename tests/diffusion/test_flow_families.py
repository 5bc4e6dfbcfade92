"""Stable Diffusion 3 and FLUX, held against the pipelines of diffusers and against plain autograd."""

import copy
import inspect
import runpy
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from whence.attribution.queries import draw_queries
from whence.config import Config, SamplerConfig
from whence.data import Dataset
from whence.diffusion.conditioner import TEXT
from whence.diffusion.encoding import Encoders
from whence.diffusion.families.flux import pack, unpack
from whence.diffusion.families.stable_diffusion_3 import POOLED
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import picture_noise
from whence.errors import ArtefactError, ConfigError, ModelError
from whence.evaluation.bank.bank_request import BankConfig, BankRequest
from whence.gradients.collector import Collector, check
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage
from whence.gradients.product_layers import ProductLayer
from whence.gradients.readouts import outcome, readout
from whence.process_config import ProcessConfig

MAKE = runpy.run_path(str(Path(__file__).parent.parent / "flow_pipelines.py"))
CAPTIONS = ("a cat", None, "a dog")
SHAPE = (4, 8, 8)
#: Folders by family, and tokens of T5 by the trainers of diffusers.
FAMILIES = {
    "SD3": (lambda folder: MAKE["stable_diffusion_3"](folder), 77),
    "SD3 without T5, dynamic shift": (
        lambda folder: MAKE["stable_diffusion_3"](folder, t5=False, use_dynamic_shifting=True),
        77,
    ),
    "FLUX": (lambda folder: MAKE["flux"](folder), 512),
    "FLUX without embedded guidance": (lambda folder: MAKE["flux"](folder, guidance=False), 512),
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory) -> Path:
    return FAMILIES[request.param][0](tmp_path_factory.mktemp("flow") / "pipeline")


@pytest.fixture(scope="module")
def flux(tmp_path_factory) -> Path:
    return MAKE["flux"](tmp_path_factory.mktemp("flow") / "flux")


@pytest.fixture(scope="module")
def model(folder) -> DiffusionModel:
    return DiffusionModel.load(folder, SHAPE)


@pytest.fixture(scope="module")
def pipeline(folder, model):
    flux = is_flux(model)
    kind = diffusers.FluxPipeline if flux else diffusers.StableDiffusion3Pipeline
    parts = {} if (folder / "text_encoder_3").exists() or flux else {"text_encoder_3": None, "tokenizer_3": None}
    pipe = kind.from_pretrained(folder, local_files_only=True, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def data() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    return Dataset(tuple("abc"), pixels, tuple((id,) for id in "abc"), CAPTIONS)


def is_flux(model: DiffusionModel) -> bool:
    return hasattr(model.network, "guidance")


def embedded(pipeline, texts: list[str], flux: bool) -> dict[str, torch.Tensor]:
    """What the pipeline makes of texts."""
    if flux:
        text, pooled, _ = pipeline.encode_prompt(texts, max_sequence_length=512)
    else:
        text, _, pooled, _ = pipeline.encode_prompt(
            texts, None, None, do_classifier_free_guidance=False, max_sequence_length=77
        )
    return {TEXT: text, POOLED: pooled}


def output(pipeline, x_t, sigma, text, flux: bool) -> torch.Tensor:
    """What the pipeline's network returns for latents, with its own packing."""
    if not flux:
        return pipeline.transformer(x_t, timestep=1000 * sigma, **text).sample
    tokens = pipeline.transformer(
        pipeline._pack_latents(x_t, len(x_t), 4, 8, 8),
        timestep=sigma,
        guidance=torch.full((len(x_t),), 3.5) if pipeline.transformer.config.guidance_embeds else None,
        img_ids=pipeline._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32),
        txt_ids=torch.zeros(text[TEXT].shape[1], 3),
        **text,
    ).sample
    return pipeline._unpack_latents(tokens, 16, 16, 2)


def test_embedded_captions_and_latents_are_the_pipelines_own(folder, model, pipeline, data):
    examples = Encoders.of(folder).encode(data)
    theirs = embedded(pipeline, [caption or "" for caption in CAPTIONS], is_flux(model))
    for name, value in examples.conditions_of(range(3)).items():
        torch.testing.assert_close(value, theirs[name], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        mean = pipeline.vae.encode(torch.from_numpy(data.pixels).float() / 127.5 - 1).latent_dist.mean
    torch.testing.assert_close(examples.tensor, (mean - 0.2) * 0.7, atol=1e-5, rtol=0)


def test_the_loss_is_that_of_a_few_lines(folder, model, pipeline, data):
    """As the trainers of diffusers have it: SD3 is trained on x_t - σ · output, FLUX on the velocity."""
    examples = Encoders.of(folder).encode(data)
    t, noise = model.process.draws(4)(examples.ids, [0, 1, 2], SHAPE)
    text, x = embedded(pipeline, [caption or "" for caption in CAPTIONS], is_flux(model)), examples.x(range(3))
    with torch.no_grad():
        ours = model.loss(x, t, noise, **examples.conditions_of(range(3)))
        sigma = (t / 1000).reshape(-1, 1, 1, 1)
        x_t = sigma * noise + (1 - sigma) * x
        found, target = output(pipeline, x_t, sigma.flatten(), text, is_flux(model)), noise - x
        if not is_flux(model):
            found, target = x_t - sigma * found, x
    torch.testing.assert_close(ours, (found - target).square().mean((1, 2, 3)), rtol=1e-5, atol=1e-5)


def test_a_loss_with_the_noise_as_its_target_is_another_one(model):
    """The mistake of a published code for SD3."""
    conditions = model.text.conditions(["a cat", "a dog"])
    t, noise = model.process.draws(0)(["a", "b"], [0, 0], SHAPE)
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.output(model.process.noised(x, t, noise), t, **conditions)
        ours = model.loss(x, t, noise, **conditions)
    wrong = (found - noise).square().mean((1, 2, 3)) * model.process.weight(t).float()
    assert ((ours - wrong).abs() > 0.05 * ours).all()


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_drawn_picture_is_the_pipelines_own(model, pipeline, guidance):
    prompts, flux = Prompts(("a cat", "a dog"), "ugly", guidance), is_flux(model)
    queries = draw_queries(model, ("5/0", "5/1"), SamplerConfig(method="euler", steps=4, clip=False), prompts)
    start = picture_noise([(5, 0), (5, 1)], 0, SHAPE)
    options = {"prompt": ["a cat", "a dog"], "negative_prompt": ["ugly"] * 2, "num_inference_steps": 4}
    options |= {"height": 16, "width": 16, "max_sequence_length": 512 if flux else 77}
    options |= {"true_cfg_scale": guidance} if flux else {"guidance_scale": guidance}
    latents = pipeline._pack_latents(start, 2, 4, 8, 8) if flux else start
    drawn = pipeline(latents=latents, output_type="latent", **options).images
    drawn = pipeline._unpack_latents(drawn, 16, 16, 2) if flux else drawn
    torch.testing.assert_close(queries.values, drawn, atol=1e-4, rtol=1e-4)
    pictures = pipeline(latents=latents, output_type="np", **options).images
    assert np.abs(queries.pictures.permute(0, 2, 3, 1).numpy() / 255 - pictures).max() < 0.01


def test_the_check_agrees_and_names_all_parts(folder):
    comparisons = {one.what: one for one in PipelineCheck.open(folder, size=(16, 16)).compare()}
    assert comparisons.keys() == {"embedded prompt", "latents", "loss", "drawn picture"}
    assert all(one.agrees for one in comparisons.values()), comparisons


def test_every_layer_is_differentiated_example_by_example_as_autograd_does(model):
    network, conditions = copy.deepcopy(model.network).eval(), model.text.conditions(["a cat", "", "a dog"])
    cover, (t, noise) = coverage(network), model.process.draws(0)(list("abc"), [0, 1, 2], SHAPE)
    assert cover.size == sum(p.numel() for p in network.parameters())
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    x_t = model.process.noised(x, t, noise)
    whole = maps(cover, Compression(kind="none"), device=x.device)

    def cotangent(found):
        return readout("loss").cotangent(outcome(model, found, x, t, noise))

    (features,) = Collector(network, cover, whole)(x_t, t, [cotangent], conditions=conditions)
    for n in range(3):
        network.zero_grad()
        one = {name: value[n : n + 1] for name, value in conditions.items()}
        rows = slice(n, n + 1)
        DiffusionModel(network, model.scheduler, SHAPE, settings=model.settings).loss(
            x[rows], t[rows], noise[rows], **one
        ).sum().backward()
        for name, (_, place) in whole.by_layer.items():
            layer, gradient = cover.layers[name], features[n, place]
            shaped = gradient.reshape(layer.outputs, layer.inputs) if isinstance(layer, ProductLayer) else gradient
            for key, value in layer.by_parameter(shaped).items():
                own = getattr(cover.modules[name], key).grad
                expected = torch.zeros_like(value) if own is None else own
                torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-6, msg=f"{name}.{key}")
    check(network, cover, x_t, t, cotangent, conditions)


def test_settings_of_the_trainers_are_stated_and_can_be_changed(folder, model):
    record, flux = model.process.record(), is_flux(model)
    assert (record["density"], record["precondition"]) == (("uniform", False) if flux else ("logit_normal", True))
    assert record["shift"] == (1.0 if model.scheduler.config.use_dynamic_shifting else 3.0)
    other = DiffusionModel.load(folder, SHAPE, settings=ProcessConfig(weighting="cosmap"))
    assert other.process.record() == record | {"weighting": "cosmap"}
    assert fingerprint(other) != fingerprint(model)


def test_a_fresh_network_of_the_family_is_called_in_the_same_way(model):
    fresh, conditions = model.untrained(1), model.text.conditions(["a cat"])
    t = torch.tensor([500.0])
    with torch.no_grad():
        assert fresh.output(torch.zeros(1, *SHAPE), t, **conditions).shape == (1, *SHAPE)


def test_latents_are_packed_as_the_pipeline_does():
    x = torch.arange(96.0).reshape(2, 3, 4, 4)
    theirs = diffusers.FluxPipeline._pack_latents(x, 2, 3, 4, 4)
    assert torch.equal(pack(x), theirs)
    assert torch.equal(unpack(pack(x), 2, 2), x)
    with pytest.raises(ModelError, match="packs latents two by two, and these are 3x4"):
        pack(torch.zeros(1, 4, 3, 4))


def test_embedded_guidance_is_a_setting(flux, tmp_path):
    conditions, t, x = None, torch.tensor([500.0]), torch.ones(1, *SHAPE)
    outputs = []
    for settings in (ProcessConfig(), ProcessConfig(guidance=3.5), ProcessConfig(guidance=1.0)):
        model = DiffusionModel.load(flux, SHAPE, settings=settings)
        conditions = conditions or model.text.conditions(["a cat"])
        with torch.no_grad():
            outputs.append(model.output(x, t, **conditions))
        assert model.process.record()["guidance"] == settings.guidance or 3.5
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])
    without = MAKE["flux"](tmp_path / "schnell", guidance=False)
    with pytest.raises(ConfigError, match="takes no embedded guidance"):
        DiffusionModel.load(without, SHAPE, settings=ProcessConfig(guidance=1.0))


def test_guidance_that_is_not_said_is_that_of_the_pipeline(model, pipeline):
    usual = {name: one.default for name, one in inspect.signature(type(pipeline).__call__).parameters.items()}
    scale = usual["true_cfg_scale" if is_flux(model) else "guidance_scale"]
    assert model.text.guidance == scale
    queries = draw_queries(model, ("0/0",), SamplerConfig(method="euler", steps=1), Prompts(("a cat",)))
    assert queries.origin.prompts == Prompts(("a cat",), guidance=scale)


def test_a_bank_of_a_flow_draws_as_its_pipeline(flux, data):
    config = Config().updated("adapter", rank=2, resolution=16).updated("sampler", steps=3)
    settings = BankConfig(models=1, held_out=0, drawn=1, draws=1)
    request = BankRequest.make(data, None, config, settings, flux)
    sampler = request.config.sampler
    assert (sampler.method, sampler.steps, sampler.clip) == ("euler", 3, False)
    assert request.prompts == Prompts(("a cat", "a dog"), guidance=1.0)


def test_flux_draws_the_size_of_its_pipeline_where_nothing_is_said(flux):
    assert DiffusionModel.load(flux).size == (4, 128, 128)


def test_a_folder_without_a_tokenizer_is_refused(flux, tmp_path):
    import shutil

    folder = shutil.copytree(flux, tmp_path / "flux")
    shutil.rmtree(folder / "tokenizer_2")
    with pytest.raises(ArtefactError, match="has no tokenizer_2"):
        DiffusionModel.load(folder, SHAPE)
