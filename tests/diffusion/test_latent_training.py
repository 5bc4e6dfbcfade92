"""Training on the latents of an autoencoder: against a plain loop, interrupted, opened by diffusers, and refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, LDMPipeline, UNet2DModel, VQModel

from whence import AttributionConfig, artefacts
from whence.attribution.attribute import attribute
from whence.attribution.target import Target
from whence.config import Config
from whence.data import Dataset
from whence.diffusion.draws import Batches, Draws
from whence.diffusion.loop import learning_rate
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.sampling import picture_noise
from whence.diffusion.shipped_base import base_folder
from whence.diffusion.training import train, training_cost
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError, ModelError

CONFIG = (
    Config()
    .updated("model", channels=(8, 16), attention=0)
    .updated("training", steps=6, batch_size=3, warmup=2, checkpoints=2, save_every=2, learning_rate=1e-3, seed=3)
    .updated("sampler", steps=4)
)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Random pictures, whose ids are not in the order of the alphabet."""
    ids = tuple("hgfedcba")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    return Dataset(ids, pixels, tuple((name,) for name in ids), (None,) * 8)


@pytest.fixture(scope="module")
def run(data, latent_diffusion, tmp_path_factory) -> Path:
    """A finished run of `CONFIG` over an autoencoder of the kind KL; only to be read."""
    path = tmp_path_factory.mktemp("latents") / "ldm"
    train(data, path, CONFIG, autoencoder=latent_diffusion / "vqvae")
    return path


def pipeline(path: Path) -> LDMPipeline:
    pipe = LDMPipeline.from_pretrained(path, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_three_steps_are_those_of_a_plain_loop(data, latent_diffusion_folder, tmp_path, kind):
    folder, config = latent_diffusion_folder(kind), CONFIG.updated("training", steps=3, checkpoints=1)
    train(data, tmp_path / "ldm", config, autoencoder=folder)
    settings, pipe = config.training, pipeline(tmp_path / "ldm")
    unet = DiffusionModel.new(config.model, (3, 8, 8), settings.seed).network.train()
    coder = (VQModel if kind == "vq" else AutoencoderKL).from_pretrained(folder / "vqvae")
    with torch.no_grad():
        encoded = coder.encode(torch.from_numpy(data.pixels).float() / 127.5 - 1)
        latents = (encoded.latents if kind == "vq" else encoded.latent_dist.mean) * coder.config.scaling_factor
    betas, decay, losses = settings.betas, settings.weight_decay, []
    optimiser = torch.optim.AdamW(unet.parameters(), betas=betas, weight_decay=decay)
    clear = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in unet.named_parameters()}
    for step in range(3):
        rows, visits = Batches(data.ids, 3, settings.seed)(step)
        t, noise = Draws(settings.seed)([data.ids[n] for n in rows], visits, latents.shape[1:])
        x_t, v = (f(latents[rows], noise, t) for f in (pipe.scheduler.add_noise, pipe.scheduler.get_velocity))
        each = (unet(x_t, t).sample - v).square().mean((1, 2, 3))
        losses.append(each.tolist())
        optimiser.zero_grad()
        each.mean().backward()
        for name, weight in unet.named_parameters():
            clear[name] &= weight.grad.abs() > 3e-5
        torch.nn.utils.clip_grad_norm_(unet.parameters(), settings.clip_norm)
        optimiser.param_groups[0]["lr"] = learning_rate(settings, step)
        optimiser.step()
    torch.testing.assert_close(Record(tmp_path / "ldm")["losses"], torch.tensor(losses), atol=1e-5, rtol=1e-4)
    found = artefacts.read_tensors(tmp_path / "ldm" / "checkpoints" / "00000003.safetensors")
    for name, weight in unet.named_parameters():  # Adam divides by the gradient's size, so where it is noise, a step is
        mask = clear[name]
        torch.testing.assert_close(found[f"weights/{name}"][mask], weight[mask], atol=2e-5, rtol=1e-5, msg=name)
    assert np.mean([mask.float().mean().item() for mask in clear.values()]) > 0.5


def test_the_run_directory(run, data, latent_diffusion, contents):
    manifest = artefacts.read_manifest(run, "model")
    assert manifest.inputs["autoencoder"] == DiffusionModel.load(run).codec.fingerprint
    assert manifest.parts.keys() == {"encoding"}
    assert contents(run / "vqvae") == contents(latent_diffusion / "vqvae")
    assert {name.split("/")[0] for name in manifest.files} == {
        *("checkpoints", "config.toml", "examples.parquet", "record"),
        *("model_index.json", "unet", "scheduler", "vqvae"),
    }
    model = DiffusionModel.load(run)
    assert model.size == (3, 8, 8)
    assert isinstance(model.network, UNet2DModel)
    assert model.process.not_followed == ()
    artefacts.verify(run, manifest)


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_its_pipeline_draws_as_whence(data, latent_diffusion_folder, tmp_path, monkeypatch, kind):
    train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion_folder(kind))
    pipe, target = pipeline(tmp_path / "ldm"), Target.open(tmp_path / "ldm")
    assert target.sampler.model_dump(include={"method", "steps", "clip"}) == {
        "method": "ddim",
        "steps": 4,
        "clip": False,
    }
    ours = target.queries("sample:2")
    assert ours.values.abs().max() > 1, "latents are not clipped"
    start = picture_noise([(0, 0), (0, 1)], 0, (3, 8, 8))
    monkeypatch.setitem(type(pipe).__call__.__wrapped__.__globals__, "randn_tensor", lambda *_, **__: start)
    theirs = pipe(batch_size=2, num_inference_steps=4, output_type="np").images
    assert np.abs(ours.pictures.permute(0, 2, 3, 1).numpy() / 255 - theirs).max() < 0.003


@pytest.mark.parametrize("step", [0, 1, 3, 5])
def test_interrupted_it_goes_on_to_the_same_bytes(run, data, latent_diffusion, tmp_path, contents, step):
    def report(done: int, _total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion, engine=Engine(report=report))
    seen: list[int] = []
    engine = Engine(report=lambda done, _total: seen.append(done))
    again = train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion, engine=engine)
    assert seen[0] == step // 2 * 2
    assert contents(tmp_path / "ldm") == contents(run)
    assert again.fingerprint == artefacts.read_manifest(run, "model").fingerprint


def test_a_run_goes_on_with_its_own_autoencoder_alone(run, data, latent_diffusion, latent_diffusion_folder):
    train(data, run, CONFIG, autoencoder=latent_diffusion)
    train(data, run, CONFIG, autoencoder=run)
    with pytest.raises(MismatchError, match="autoencoder: there"):
        train(data, run, CONFIG, autoencoder=latent_diffusion_folder("vq"))
    with pytest.raises(MismatchError, match="autoencoder"):
        train(data, run, CONFIG)


def test_a_damaged_autoencoder_is_seen(run, tmp_path, flip_byte):
    copy = shutil.copytree(run, tmp_path / "copy")
    flip_byte(copy / "vqvae" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ArtefactError, match="vqvae"):
        Target.open(copy)


def test_attribution_by_checkpoints_and_record(run, data, tmp_path):
    config = AttributionConfig(draws=8, compression={"width": 64})
    found = attribute(run, data, "sample:2", ["tangent", "tracin"], config=config, out=tmp_path / "scores")
    for scores in found.values():
        assert scores.scores.shape == (2, 8)
        assert scores.scores.isfinite().all()
        assert scores.scores.std() > 0
    with pytest.raises(MismatchError, match="pixels"):
        attribute(run, data.select([1, 2]), "sample:2", "tangent", config=config)


def test_an_autoencoder_of_a_variant_is_saved_anew(data, latent_diffusion, tmp_path):
    coder = AutoencoderKL.from_pretrained(latent_diffusion / "vqvae").half()
    coder.save_pretrained(tmp_path / "fp16", variant="fp16")
    train(data, tmp_path / "ldm", CONFIG, autoencoder=tmp_path / "fp16")
    for (name, half), whole in zip(
        coder.state_dict().items(), pipeline(tmp_path / "ldm").vqvae.parameters(), strict=True
    ):
        assert torch.equal(half.float(), whole), name


def test_the_shipped_autoencoder_and_the_default_sizes(data, tmp_path):
    config = Config().updated("training", steps=1, batch_size=2, checkpoints=0)
    train(data, tmp_path / "ldm", config, autoencoder="styles")
    model = DiffusionModel.load(tmp_path / "ldm")
    assert model.size == (4, 8, 8)
    assert model.network.config.block_out_channels == [16, 64]
    assert model.codec.scale == DiffusionModel.load(base_folder("styles")).codec.scale != 0.18215


def test_the_cost_is_that_of_latents(data, latent_diffusion):
    cost = training_cost(data, CONFIG, autoencoder=latent_diffusion, engine=Engine(1))
    coder = latent_diffusion / "vqvae" / "diffusion_pytorch_model.safetensors"
    assert "1 x 6 steps of " in cost.work
    assert cost.disk > coder.stat().st_size + 8 * 3 * 8 * 8 * 4


REFUSED = {
    "an adapter": ({"adapter": {"rank": 2}}, ConfigError, "settings of an adapter, but no base"),
    "too many levels": ({"model": {"channels": (8,) * 5}}, ConfigError, "5 levels need sides divisible by 16"),
}


@pytest.mark.parametrize(("settings", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_are_refused(data, latent_diffusion, tmp_path, settings, error, message):
    config = CONFIG
    for section, values in settings.items():
        config = config.updated(section, **values)
    with pytest.raises(error, match=message):
        train(data, tmp_path / "ldm", config, autoencoder=latent_diffusion)
    assert not (tmp_path / "ldm").exists()


def test_folders_and_pictures_that_are_refused(data, latent_diffusion, tmp_path):
    with pytest.raises(ArtefactError, match="has no autoencoder"):
        train(data, tmp_path / "ldm", CONFIG, autoencoder=tmp_path)
    with pytest.raises(ArtefactError, match="holds a UNet2DModel; expected one of the autoencoders"):
        train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion / "unet")
    with pytest.raises(ConfigError, match="Leave out the autoencoder, or `base`"):
        train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion, base="styles")
    AutoencoderKL.from_config(AutoencoderKL.load_config(latent_diffusion / "vqvae"), shift_factor=0.1).save_pretrained(
        tmp_path / "shifted"
    )
    with pytest.raises(ModelError, match="has a shift_factor, which LDMPipeline does not know"):
        train(data, tmp_path / "ldm", CONFIG, autoencoder=tmp_path / "shifted")
    for size, message in (((15, 16), "multiples of 2"), ((16, 12), "squares alone")):
        pixels = np.zeros((2, 3, *size), np.uint8)
        pixels[1] = 1
        with pytest.raises(DataError, match=message):
            train(
                Dataset(("a", "b"), pixels, (("a",), ("b",)), (None,) * 2), tmp_path / "x", CONFIG, autoencoder="styles"
            )


def test_a_network_of_latents_is_not_trained_further(run, data, tmp_path):
    with pytest.raises(ModelError, match="A network of latents is not trained further"):
        train(data, tmp_path / "x", CONFIG, start=DiffusionModel.load(run))
