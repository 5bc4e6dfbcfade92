"""Training on latents with captions: losses by diffusers' own parts, interrupted, drawn by its pipeline, refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from whence import AttributionConfig, artefacts
from whence.attribution.attribute import attribute
from whence.attribution.target import Target
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.conditioner import TEXT
from whence.diffusion.draws import Draws
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.prompts import Prompts
from whence.diffusion.record import Record
from whence.diffusion.sampling import picture_noise
from whence.diffusion.shipped_base import base_folder
from whence.diffusion.training import train, training_cost
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError, ModelError

CONFIG = (
    Config()
    .updated("model", channels=(8, 16), attention=8)
    .updated("training", steps=6, batch_size=4, warmup=1, checkpoints=6, save_every=2, learning_rate=1e-2, seed=3)
    .updated("training", caption_dropout=0.5)
    .updated("sampler", steps=4)
)


def pictures(height: int = 16, width: int = 16) -> Dataset:
    """Random pictures, whose ids are not in the order of the alphabet; the first one has no caption."""
    ids = tuple("hgfedcba")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, height, width), dtype=np.uint8)
    captions = tuple(f"picture {n % 3}" if n else None for n in range(8))
    return Dataset(ids, pixels, tuple((name,) for name in ids), captions)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return pictures()


@pytest.fixture(scope="module")
def run(data, stable_diffusion, tmp_path_factory) -> Path:
    """A finished run of `CONFIG` over the encoders of a Stable Diffusion pipeline; only to be read."""
    path = tmp_path_factory.mktemp("captions") / "run"
    train(data, path, CONFIG, autoencoder=stable_diffusion, text_encoder=stable_diffusion)
    return path


def pipeline(path: Path) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(path, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def test_the_loss_of_each_step_is_that_of_diffusers_own_parts(run, data):
    pipe, record = pipeline(run), Record(run)
    latents = pipe.vae.encode(torch.from_numpy(data.pixels).float() / 127.5 - 1).latent_dist.mean
    latents = latents * pipe.vae.config.scaling_factor
    text, empty = pipe.encode_prompt([caption or "" for caption in data.captions], "cpu", 1, True)
    assert 0 < record["dropped"].float().mean() < 1
    networks = [DiffusionModel.new(CONFIG.model, (4, 8, 8), 3, features=16).network.state_dict()]
    for file in sorted((run / "checkpoints").iterdir())[:-1]:
        saved = artefacts.read_tensors(file)
        networks.append({name[8:]: tensor for name, tensor in saved.items() if name.startswith("weights/")})
    for step, weights in enumerate(networks):
        pipe.unet.load_state_dict(weights)
        rows = [data.ids.index(name) for name in record.batch(step)]
        t, noise = Draws(3)(record.batch(step), record["visits"][step].numpy(), latents.shape[1:])
        seen = torch.where(record["dropped"][step][:, None, None], empty[rows], text[rows])
        x_t, v = (f(latents[rows], noise, t) for f in (pipe.scheduler.add_noise, pipe.scheduler.get_velocity))
        losses = (pipe.unet(x_t, t, seen).sample - v).square().mean((1, 2, 3))
        torch.testing.assert_close(record["losses"][step], losses, atol=1e-5, rtol=1e-5)


def test_the_run_directory(run, data, stable_diffusion, contents):
    manifest, encoders = artefacts.read_manifest(run, "model"), Encoders.of(stable_diffusion)
    assert manifest.inputs["autoencoder"] == encoders.codec.fingerprint
    assert manifest.inputs["text_encoder"] == encoders.text.fingerprint == Encoders.of(run).text.fingerprint
    assert manifest.made["training"]["caption_dropout"] == 0.5
    assert manifest.facts["notes"] == ["1 of 8 pictures have no caption; they get the empty one: h."]
    for part in ("vae", "text_encoder", "tokenizer"):
        assert contents(run / part) == contents(stable_diffusion / part)
    assert {name.split("/")[0] for name in manifest.files} == {
        *("checkpoints", "config.toml", "examples.parquet", "record"),
        *("model_index.json", "unet", "scheduler", "vae", "text_encoder", "tokenizer"),
    }
    artefacts.verify(run, manifest)


def test_whence_and_its_pipeline_agree(run):
    comparisons = {comparison.what: comparison for comparison in PipelineCheck.open(run, prompt="picture 1").compare()}
    assert comparisons.keys() == {"embedded prompt", "latents", "loss", "drawn picture"}
    assert all(comparison.agrees for comparison in comparisons.values()), comparisons


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_its_pipeline_draws_the_same_pictures(run, guidance):
    target, texts = Target.open(run), ("picture 1", "picture 2")
    assert target.sampler.model_dump(include={"method", "steps", "clip"}) == {
        "method": "ddim",
        "steps": 4,
        "clip": False,
    }
    ours = target.queries("sample:2", prompts=Prompts(texts, guidance=guidance))
    start = picture_noise([(0, 0), (0, 1)], 0, (4, 8, 8))
    options = {"num_inference_steps": 4, "guidance_scale": guidance, "output_type": "np"}
    theirs = pipeline(run)(list(texts), latents=start, **options).images
    assert np.abs(ours.pictures.permute(0, 2, 3, 1).numpy() / 255 - theirs).max() < 0.003


def test_prompts_and_guidance_change_the_picture(run):
    target = Target.open(run)
    drawn = [
        target.queries("sample:1", prompts=Prompts((text,), guidance=guidance)).values
        for text, guidance in (("picture 1", 1.0), ("picture 2", 1.0), ("picture 1", 3.0))
    ]
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-4)
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-4)


@pytest.mark.parametrize("step", [0, 3])
def test_interrupted_it_goes_on_to_the_same_bytes(run, data, stable_diffusion, tmp_path, contents, step):
    def report(done: int, _total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    encoders = {"autoencoder": stable_diffusion, "text_encoder": stable_diffusion}
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", CONFIG, **encoders, engine=Engine(report=report))
    again = train(data, tmp_path / "run", CONFIG, **encoders)
    assert contents(tmp_path / "run") == contents(run)
    assert again.fingerprint == artefacts.read_manifest(run, "model").fingerprint


def test_a_run_goes_on_with_its_own_encoders_alone(run, data, stable_diffusion, tmp_path):
    train(data, run, CONFIG, autoencoder=run, text_encoder=run)
    with pytest.raises(MismatchError, match="text_encoder: there"):
        train(data, run, CONFIG, autoencoder=stable_diffusion, text_encoder="styles")
    with pytest.raises(MismatchError, match="text_encoder"):
        train(data, run, CONFIG.updated("training", caption_dropout=0.0), autoencoder=stable_diffusion)
    with pytest.raises(MismatchError, match=r"training.caption_dropout: there 0.5"):
        train(data, run, CONFIG.updated("training", caption_dropout=0.25), autoencoder=run, text_encoder=run)


def test_with_weight_0_nothing_depends_on_an_image_and_its_caption(data, stable_diffusion, tmp_path, contents):
    pixels, captions = data.pixels.copy(), list(data.captions)
    pixels[2], captions[2] = 255 - pixels[2], "another text"
    config, written = CONFIG.updated("training", steps=2, batch_size=8, checkpoints=0), []
    for number, images in enumerate((data, Dataset(data.ids, pixels, data.units, tuple(captions)))):
        for name, weights in (("weighted", {"f": 0.0}), ("whole", None)):
            path = tmp_path / f"{name} {number}"
            train(images, path, config, weights=weights, autoencoder=stable_diffusion, text_encoder=stable_diffusion)
            written.append(contents(path / "unet"))
    assert written[0] == written[2]
    assert written[1] != written[3]


def test_damaged_encoders_are_seen(run, tmp_path, flip_byte):
    for part in (
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
    ):
        copy = shutil.copytree(run, tmp_path / part.replace("/", "-"))
        flip_byte(copy / part)
        with pytest.raises(ArtefactError, match=part):
            Target.open(copy)


def test_attribution_uses_the_captions_that_training_gave(run, data, tmp_path):
    target, record = Target.open(run), Record(run)
    examples = target.encoders.encode(data)
    [last] = [c.source for c in target.checkpoints("record", data.ids) if c.source.last == 2]
    source = last.__class__(**{**vars(last), "visits": 3})
    empty = target.encoders.conditions([""])[TEXT][[0]]
    for step in range(6):
        ids, visits = record.batch(step), record["visits"][step].numpy()
        rows = [data.index_of(name) for name in ids]
        given = source.conditions(examples.conditions_of(rows), ids, last.last - visits)[TEXT]
        dropped = record["dropped"][step] | torch.tensor([data.captions[row] is None for row in rows])
        assert torch.equal((given == empty).flatten(1).all(1), dropped)
    queries = target.queries("sample:2", prompts=Prompts(("picture 1",), guidance=2.0))
    config = AttributionConfig(draws=8, compression={"width": 64})
    options = {"config": config, "parameters": "attn2", "out": tmp_path / "scores", "engine": Engine(1)}
    found = attribute(run, data, queries, ["tangent", "pixel"], **options)
    for scores in found.values():
        assert scores.scores.shape == (2, 8)
        assert scores.scores.isfinite().all()
        assert scores.scores.std() > 0
    with pytest.raises(MismatchError, match="captions"):
        attribute(run, data.with_fields(captions=("other",) * 8), queries, "tangent", config=config)


def test_pictures_that_are_no_squares(stable_diffusion, tmp_path):
    config = CONFIG.updated("training", steps=1, checkpoints=0)
    train(pictures(16, 24), tmp_path / "run", config, autoencoder=stable_diffusion, text_encoder=stable_diffusion)
    ours = Target.open(tmp_path / "run").queries("sample:1", prompts=Prompts(("picture 1",), guidance=1.0))
    start = picture_noise([(0, 0)], 0, (4, 8, 12))
    theirs = pipeline(tmp_path / "run")("picture 1", latents=start, num_inference_steps=4, guidance_scale=1.0)
    assert ours.pictures.shape == (1, 3, 16, 24)
    assert np.abs(ours.pictures[0].permute(1, 2, 0).numpy() / 255 - np.asarray(theirs.images[0]) / 255).max() < 0.006


@pytest.mark.parametrize("stored", ["variant", "half precision", "shards"])
def test_a_text_encoder_in_another_form_is_saved_so_that_the_pipeline_draws(stable_diffusion, data, tmp_path, stored):
    source, text = shutil.copytree(stable_diffusion, tmp_path / "sd"), pipeline(stable_diffusion).text_encoder
    (source / "text_encoder" / "model.safetensors").unlink()
    forms = {"variant": {"variant": "fp16"}, "half precision": {}, "shards": {"max_shard_size": "10KB"}}
    (text if stored == "shards" else text.half()).save_pretrained(source / "text_encoder", **forms[stored])
    (source / "text_encoder" / "pytorch_model.bin").write_bytes(b"pickled")
    config = CONFIG.updated("training", steps=1, checkpoints=0)
    train(data, tmp_path / "run", config, autoencoder=source, text_encoder=source)
    both = [Encoders.of(folder).text.conditions(["picture 1"])[TEXT] for folder in (source, tmp_path / "run")]
    assert torch.equal(*both)
    assert pipeline(tmp_path / "run")("picture 1", num_inference_steps=1, output_type="latent").images.isfinite().all()
    assert not list((tmp_path / "run").rglob("*.bin"))


def test_the_shipped_encoders_and_the_default_sizes(data, tmp_path):
    config = Config().updated("training", steps=1, batch_size=2, checkpoints=0)
    train(data, tmp_path / "run", config, autoencoder="styles", text_encoder="styles")
    network = DiffusionModel.load(tmp_path / "run").network
    assert isinstance(network, UNet2DConditionModel)
    assert network.config.block_out_channels == [16, 64]
    assert network.config.down_block_types == ["CrossAttnDownBlock2D"] * 2
    assert (
        network.config.cross_attention_dim
        == DiffusionModel.load(base_folder("styles")).network.config.cross_attention_dim
    )
    cost = training_cost(data, config, autoencoder="styles", text_encoder="styles", engine=Engine(1))
    assert cost.disk > sum(file.stat().st_size for file in base_folder("styles").glob("text_encoder/*.safetensors"))


REFUSED = {
    "an adapter": ({"adapter": {"rank": 2}}, {}, ConfigError, "settings of an adapter, but no base"),
    "no attention": (
        {"model": {"attention": 2}},
        {},
        ConfigError,
        "With model.attention = 2 no level of the network sees the captions; give 4 or more",
    ),
    "captions that are not seen": (
        {},
        {"text_encoder": None},
        ConfigError,
        "training.caption_dropout is for networks that take captions",
    ),
    "no latents": ({}, {"autoencoder": None}, ConfigError, "give --autoencoder too"),
    "a base": ({}, {"autoencoder": None, "base": "styles"}, ConfigError, "A base has one of its own"),
    "no captions": ({}, {"autoencoder": None, "text_encoder": None}, ConfigError, "training.caption_dropout is for"),
    "no text encoder": ({}, {"text_encoder": "NOWHERE"}, ArtefactError, "model_index.json"),
    "a codebook": (
        {},
        {"autoencoder": "VQ"},
        ModelError,
        "is a VQModel; StableDiffusionPipeline needs an AutoencoderKL",
    ),
}


@pytest.mark.parametrize(("settings", "given", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(data, stable_diffusion, latent_diffusion_folder, tmp_path, settings, given, error, message):
    config, folders = CONFIG, {"VQ": lambda: latent_diffusion_folder("vq"), "NOWHERE": lambda: tmp_path}
    for section, values in settings.items():
        config = config.updated(section, **values)
    parts = {"autoencoder": stable_diffusion, "text_encoder": stable_diffusion, **given}
    parts = {name: folders[part]() if part in folders else part for name, part in parts.items()}
    with pytest.raises(error, match=message):
        train(data, tmp_path / "run", config, **parts)
    assert not (tmp_path / "run").exists()
