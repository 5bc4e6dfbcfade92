"""Stable Diffusion and latent diffusion, held against the pipelines of diffusers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from whence.attribution.queries import draw_queries
from whence.config import SamplerConfig
from whence.data import Dataset
from whence.diffusion.autoencoder import Autoencoder
from whence.diffusion.conditioner import TEXT
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.families.stable_diffusion import text_of
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.prompts import Prompts
from whence.diffusion.repeated import Repeated
from whence.diffusion.sampling import picture_noise
from whence.errors import ArtefactError, DataError, ModelError, NotFiniteError

CAPTIONS = ("a cat", None, "a dog", "a cat", "a very long caption of many words")


@pytest.fixture(scope="module")
def pipeline(stable_diffusion):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(stable_diffusion, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def model(stable_diffusion) -> DiffusionModel:
    return DiffusionModel.load(stable_diffusion)


@pytest.fixture(scope="module")
def data() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)
    ids = tuple("abcde")
    return Dataset(ids, pixels, tuple((id,) for id in ids), CAPTIONS)


def test_the_model_has_the_sizes_of_the_pipeline(model, stable_diffusion):
    assert model.size == (4, 8, 8)
    assert model.codec.picture_size(model.size) == (3, 16, 16)
    assert model.text == text_of(stable_diffusion)


def test_embedded_captions_are_the_pipelines_own(model, pipeline):
    ours = model.text.conditions(["a cat", "", CAPTIONS[-1]])[TEXT]
    theirs, empty = pipeline.encode_prompt(["a cat", "", CAPTIONS[-1]], "cpu", 1, True)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[1], empty[0], atol=1e-6, rtol=0)
    assert model.text.truncated(["a cat", CAPTIONS[-1]]) == [CAPTIONS[-1]]


def test_an_embedding_and_a_latent_depend_on_no_other_row(model, data):
    texts = [f"text {n}" for n in range(11)]
    assert torch.equal(model.text.conditions(texts)[TEXT][9:], model.text.conditions(texts[9:])[TEXT])
    pixels = torch.from_numpy(data.pixels)
    assert torch.equal(model.codec.encode(pixels)[4:], model.codec.encode(pixels[4:]))


def test_latents_are_the_scaled_mean_of_the_pipelines_autoencoder(model, pipeline, data):
    pixels = torch.from_numpy(data.pixels)
    with torch.no_grad():
        theirs = pipeline.vae.encode(pixels.float() / 127.5 - 1).latent_dist.mean * 0.18215
        decoded = pipeline.vae.decode(theirs / 0.18215).sample
    torch.testing.assert_close(model.codec.encode(pixels), theirs, atol=1e-6, rtol=0)
    theirs_as_pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    assert np.abs(model.codec.decode(theirs).astype(int) - theirs_as_pixels).max() <= 1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_a_few_lines(stable_diffusion, pipeline, data, tmp_path, prediction):
    folder = shutil.copytree(stable_diffusion, tmp_path / "sd")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": prediction}))
    model, examples = DiffusionModel.load(folder), Encoders.of(folder).encode(data)
    t, noise = (
        torch.tensor([3, 200, 500, 700, 999]),
        torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1)),
    )
    with torch.no_grad():
        ours = model.loss(examples.x(range(5)), t, noise, **examples.conditions_of(range(5)))
        latents = pipeline.vae.encode(torch.from_numpy(data.pixels).float() / 127.5 - 1).latent_dist.mean * 0.18215
        text = torch.cat([pipeline.encode_prompt(caption or "", "cpu", 1, False)[0] for caption in CAPTIONS])
        noised = pipeline.scheduler.add_noise(latents, noise, t)
        target = noise if prediction == "epsilon" else pipeline.scheduler.get_velocity(latents, noise, t)
        theirs = (pipeline.unet(noised, t, text).sample - target).square().mean((1, 2, 3))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_drawn_picture_is_the_pipelines_own(model, pipeline, guidance):
    prompts = Prompts(("a cat", "a dog"), "ugly", guidance)
    queries = draw_queries(model, ("5/0", "5/1"), SamplerConfig(method="ddim", steps=5, clip=False), prompts)
    start = picture_noise([(5, 0), (5, 1)], 0, (4, 8, 8))
    options = {"num_inference_steps": 5, "guidance_scale": guidance, "latents": start, "height": 16, "width": 16}
    prompted = {"prompt": ["a cat", "a dog"], "negative_prompt": ["ugly"] * 2}
    latents = pipeline(**prompted, **options, output_type="latent").images
    torch.testing.assert_close(queries.values, latents, atol=1e-4, rtol=1e-4)
    pictures = pipeline(**prompted, **options, output_type="np").images
    assert np.abs(queries.pictures.permute(0, 2, 3, 1).numpy() / 255 - pictures).max() < 0.01
    assert queries.captions == ("a cat", "a dog")


def test_an_encoding_that_is_kept_has_the_order_of_the_data(stable_diffusion, data, tmp_path):
    turned = data.select([3, 0, 4, 2, 1])
    encoders = Encoders.of(stable_diffusion)
    kept, made = (encoders.encode(turned, folder) for folder in (tmp_path / "encoding", None))
    assert kept.ids == made.ids == turned.ids
    assert torch.equal(kept.tensor, made.tensor)
    assert torch.equal(kept.conditions[TEXT][range(5)], made.conditions[TEXT][range(5)])
    assert kept.fingerprint == made.fingerprint


def test_each_distinct_caption_is_embedded_once(stable_diffusion, data):
    examples = Encoders.of(stable_diffusion).encode(data)
    condition = examples.conditions[TEXT]
    assert isinstance(condition, Repeated)
    assert condition.values.shape == (4, 16, 16)
    assert torch.equal(condition[[0]], condition[[3]])
    assert any("1 of 5 pictures have no caption" in note for note in examples.notes)
    assert any("1 captions are longer" in note for note in examples.notes)


def test_an_encoding_is_kept_and_is_of_its_pictures_captions_and_encoders(stable_diffusion, data, tmp_path):
    encoders = Encoders.of(stable_diffusion)
    first = encoders.encode(data, tmp_path / "encoding")
    stamp = (tmp_path / "encoding" / "manifest.json").stat().st_mtime_ns
    again = encoders.encode(data, tmp_path / "encoding")
    assert first.fingerprint == again.fingerprint == encoders.encode(data).fingerprint
    assert (tmp_path / "encoding" / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(Exception, match="inputs.data"):
        encoders.encode(data.with_fields(captions=("x",) * 5), tmp_path / "encoding")


def test_shared_conditions_survive_sorting_selection_and_disk(stable_diffusion, data, tmp_path):
    examples = Encoders.of(stable_diffusion).encode(data.select([4, 2, 0, 3, 1]))
    examples.write(tmp_path / "examples")
    back = Examples.read(tmp_path / "examples")
    for n, id in enumerate(back.ids):
        row = examples.ids.index(id)
        assert torch.equal(back.conditions_of([n])[TEXT], examples.conditions_of([row])[TEXT])
    assert torch.equal(back.block(range(1, 3)).conditions_of([0])[TEXT], back.conditions_of([1])[TEXT])
    assert back.fingerprint == examples.fingerprint == back.sorted().fingerprint


def edited(folder: Path, file: str, **changes: object) -> Path:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


HALVED = {
    "text encoder": ("text_encoder", {}),
    "variant of the text encoder": ("text_encoder", {"variant": "fp16"}),
    "network": ("unet", {}),
    "variant of the network": ("unet", {"variant": "fp16"}),
    "pipeline": ("", {}),
    "variant of the pipeline": ("", {"variant": "fp16"}),
}


@pytest.mark.filterwarnings("ignore:There are modules")
@pytest.mark.parametrize(("part", "form"), HALVED.values(), ids=HALVED)
def test_parts_in_half_precision_are_read_as_float32_by_whence_and_in_its_check(stable_diffusion, tmp_path, part, form):
    from diffusers import StableDiffusionPipeline

    folder = shutil.copytree(stable_diffusion, tmp_path / "sd")
    pipe = StableDiffusionPipeline.from_pretrained(stable_diffusion, local_files_only=True)
    for file in (folder / part).rglob("*.safetensors"):
        file.unlink()
    (getattr(pipe, part) if part else pipe).to(torch.float16).save_pretrained(folder / part, **form)
    comparisons = {comparison.what: comparison for comparison in PipelineCheck.open(folder).compare()}
    assert comparisons.keys() == {"embedded prompt", "latents", "loss", "drawn picture"}
    assert all(comparison.agrees for comparison in comparisons.values()), comparisons


REFUSED = {
    "inpainting": (lambda f: edited(f, "unet/config.json", in_channels=9), ModelError, "as an inpainting model does"),
    "LCM": (lambda f: edited(f, "unet/config.json", time_cond_proj_dim=256), ModelError, "latent consistency"),
    "XL": (lambda f: edited(f, "unet/config.json", addition_embed_type="text_time"), ModelError, "Diffusion XL"),
    "another pipeline": (
        lambda f: edited(f, "model_index.json", _class_name="StableDiffusionControlNetPipeline"),
        ModelError,
        "is a StableDiffusionControlNetPipeline; .* StableDiffusionXLPipeline are supported",
    ),
    "no text encoder": (lambda f: shutil.rmtree(f / "text_encoder"), ArtefactError, "has no text_encoder"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), ArtefactError, "has no tokenizer"),
    "no autoencoder": (lambda f: shutil.rmtree(f / "vae"), ArtefactError, "has no autoencoder"),
    "another text encoder": (
        lambda f: edited(f, "model_index.json", text_encoder=["evil", "Encoder"]),
        ArtefactError,
        "text_encoder of .* is Encoder",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_folders_that_are_refused(stable_diffusion, tmp_path, change, error, message):
    folder = shutil.copytree(stable_diffusion, tmp_path / "sd")
    change(folder)
    with pytest.raises(error, match=message):
        DiffusionModel.load(folder)


def test_sides_must_fit_the_autoencoder(model):
    with pytest.raises(DataError, match="multiples of 2; the pictures have 16x15 pixels"):
        model.codec.encode(torch.zeros(1, 3, 15, 16, dtype=torch.uint8))


def test_latents_that_are_not_finite_are_refused(stable_diffusion, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(stable_diffusion / "vae", tmp_path / "vae")
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    weights["encoder.conv_in.bias"] = torch.full_like(weights["encoder.conv_in.bias"], 1e38)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(NotFiniteError, match="latents that are not finite"):
        Autoencoder(folder).encode(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_a_model_of_latents_is_not_saved_as_one_of_pixels(latent_diffusion, tmp_path):
    with pytest.raises(ModelError, match="model of latents"):
        DiffusionModel.load(latent_diffusion).save(tmp_path / "copy")


@pytest.mark.parametrize("kind", ["vq", "kl"])
def test_latent_diffusion_draws_as_its_pipeline(latent_diffusion_folder, kind):
    from diffusers import LDMPipeline

    folder = latent_diffusion_folder(kind)
    model, pipe = DiffusionModel.load(folder), LDMPipeline.from_pretrained(folder)
    queries = draw_queries(model, ("0/0",), SamplerConfig(method="ddim", steps=4, clip=False))
    latents = picture_noise([(0, 0)], 0, model.size)
    pipe.scheduler.set_timesteps(4)
    with torch.no_grad():
        for t in pipe.scheduler.timesteps:
            latents = pipe.scheduler.step(pipe.unet(latents, t).sample, t, latents).prev_sample
        picture = pipe.vqvae.decode(latents / pipe.vqvae.config.scaling_factor).sample
    torch.testing.assert_close(queries.values, latents, atol=1e-4, rtol=1e-4)
    assert np.abs(queries.pictures.numpy() / 127.5 - 1 - picture.clamp(-1, 1).numpy()).max() < 0.02
