"""Posteriors of latents: against diffusers, in shards, killed; samples and mirror images at the visits of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from whence import artefacts
from whence.config import Config, read_config
from whence.data import Dataset, write
from whence.diffusion import shards
from whence.diffusion.augmentation import PLAIN, Augmentation
from whence.diffusion.conditioner import TEXT
from whence.diffusion.draws import Draws, flips
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.latents import Latents
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.diffusion.record import Record
from whence.diffusion.shards import Shards
from whence.diffusion.training import train, training_cost
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError

BOTH = Augmentation(0, flip=True, sampled=True)
CONFIG = (
    Config()
    .updated("model", channels=(8, 16), attention=0)
    .updated("training", steps=6, batch_size=4, warmup=0, checkpoints=6, save_every=2, learning_rate=1e-3, seed=3)
    .updated("training", latents="sample", flip=True)
)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Random pictures, whose ids are not in the order of the alphabet."""
    ids = tuple("jihgfedcba")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 16, 16), dtype=np.uint8)
    return Dataset(ids, pixels, tuple((name,) for name in ids), tuple(f"picture {n % 7}" for n in range(10)))


@pytest.fixture(scope="module")
def posterior(data, stable_diffusion):
    """Mean and deviation by diffusers, of the images [10, ...] and of their mirror images, times the scale."""
    return _posterior(stable_diffusion / "vae", data)


def _posterior(folder: Path, data: Dataset) -> list[tuple[torch.Tensor, torch.Tensor]]:
    coder, x = AutoencoderKL.from_pretrained(folder), torch.from_numpy(data.pixels).float() / 127.5 - 1
    with torch.no_grad():
        found = [coder.encode(pixels).latent_dist for pixels in (x, torch.flip(x, [-1]))]
    scale = coder.config.scaling_factor
    return [(one.mean * scale, one.std * scale) for one in found]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 4)


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "kept"])
def test_an_encoding_holds_the_posterior_of_diffusers(data, stable_diffusion, posterior, tmp_path, kept, small_shards):
    latents = Encoders.of(stable_diffusion).encode(data, tmp_path / "encoding" if kept else None, BOTH).values
    expected = dict(zip(("values", "deviation"), posterior[0], strict=True))
    expected |= dict(zip(("mirrored", "mirrored_deviation"), posterior[1], strict=True))
    assert latents.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(latents.tensors[name][range(10)], tensor, atol=1e-6, rtol=1e-6, msg=name)
    assert (latents.tensors["mirrored"][range(10)] - expected["values"].flip(-1)).abs().max() > 0.01


def test_a_sample_is_that_of_diffusers(data, stable_diffusion):
    """The noise goes into diffusers' own formula: latent_dist.sample() * scaling_factor."""
    coder, noise = AutoencoderKL.from_pretrained(stable_diffusion / "vae"), torch.randn(10, 4, 8, 8)
    examples = Encoders.of(stable_diffusion).encode(data, augmentation=Augmentation(0, sampled=True))
    with torch.no_grad():
        dist = coder.encode(torch.from_numpy(data.pixels).float() / 127.5 - 1).latent_dist
    expected = (dist.mean + dist.std * noise) * coder.config.scaling_factor
    torch.testing.assert_close(examples.x(range(10), None, noise), expected, atol=1e-6, rtol=1e-6)


def test_shards_change_nothing_but_files(data, stable_diffusion, tmp_path, monkeypatch):
    encoders, found = Encoders.of(stable_diffusion), []
    for rows, augmentation in ((512, BOTH), (4, BOTH), (512, PLAIN), (4, PLAIN)):
        monkeypatch.setattr(shards, "ROWS", rows)
        folder = tmp_path / f"{rows}-{augmentation.flip}"
        found.append(encoders.encode(data, folder, augmentation))
        assert len(list((folder / "latents").iterdir())) == (1 if rows == 512 else 3)
        assert len(list((folder / "conditions" / "captions").iterdir())) == (1 if rows == 512 else 2)
    one, many, one_mean, many_mean = found
    assert one.fingerprint == many.fingerprint != one_mean.fingerprint
    assert one_mean.fingerprint == many_mean.fingerprint == encoders.encode(data).fingerprint
    visits = np.arange(10)
    assert torch.equal(BOTH.x(one, visits, visits), BOTH.x(many, visits, visits))
    assert torch.equal(one.conditions_of(range(10))[TEXT], many.conditions_of(range(10))[TEXT])


def test_examples_in_shards_survive_selection_and_disk(data, stable_diffusion, tmp_path, small_shards):
    examples = Encoders.of(stable_diffusion).encode(data, tmp_path / "encoding", BOTH)
    examples.write(tmp_path / "examples")
    back, rows, visits = Examples.read(tmp_path / "examples"), np.array([0, 2, 1]), np.array([3, 0, 7])
    assert back.ids == tuple(sorted(data.ids))
    assert back.fingerprint == examples.fingerprint
    some = back.ordered(("f", "j", "b"))
    there = np.array([examples.ids.index(some.ids[row]) for row in rows])
    assert torch.equal(BOTH.x(some, rows, visits), BOTH.x(examples, there, visits))
    assert torch.equal(some.conditions_of(rows)[TEXT], examples.conditions_of(there)[TEXT])


def test_no_more_than_a_shard_is_encoded_at_once(data, stable_diffusion, tmp_path, small_shards, monkeypatch):
    encoders, seen = Encoders.of(stable_diffusion), []
    kind = type(encoders.codec)
    own, embed = kind.posterior, type(encoders.text).conditions
    monkeypatch.setattr(kind, "posterior", lambda self, pixels: seen.append(len(pixels)) or own(self, pixels))
    monkeypatch.setattr(
        type(encoders.text), "conditions", lambda self, texts: seen.append(-len(texts)) or embed(self, texts)
    )
    encoders.encode(data, tmp_path / "encoding")
    assert seen == [4, 4, 2, -4, -3], "the autoencoder first, then the text encoder"


def test_killed_it_goes_on_after_the_last_whole_shard(
    data, stable_diffusion, tmp_path, fork_script, contents, small_shards, monkeypatch
):
    write(data, tmp_path / "data")
    script, encoders = Path(__file__).parent / "kill_encoding.py", Encoders.of(stable_diffusion)
    names = fork_script(script, tmp_path, stable_diffusion).split()
    assert len(names) > 1
    encoders.encode(data, tmp_path / "whole", BOTH)
    own, seen = type(encoders.codec).posterior, []
    monkeypatch.setattr(
        type(encoders.codec), "posterior", lambda self, pixels: seen.append(len(pixels)) or own(self, pixels)
    )
    for name in names:
        there = len(list((tmp_path / f"{name}.part" / "latents").glob("0*.safetensors")))
        seen.clear()
        encoders.encode(data, tmp_path / name, BOTH)
        assert len(seen) == 2 * (3 - there)
        assert contents(tmp_path / name) == contents(tmp_path / "whole"), name


@pytest.fixture(scope="module")
def run(data, latent_diffusion, tmp_path_factory) -> Path:
    """A finished run with samples and flips; only to be read."""
    path = tmp_path_factory.mktemp("latents") / "ldm"
    train(data, path, CONFIG, autoencoder=latent_diffusion)
    return path


def test_losses_of_training_are_those_of_a_plain_computation(run, data, latent_diffusion):
    """At each step: the image or its mirror image, mean + deviation times noise, and the loss by diffusers."""
    posterior, record, seed = _posterior(latent_diffusion / "vqvae", data), Record(run), CONFIG.training.seed
    files = sorted((run / "checkpoints").iterdir())
    model = DiffusionModel.load(run)
    model.network.load_state_dict(DiffusionModel.new(CONFIG.model, (3, 8, 8), seed).network.state_dict())
    assert 0 < record["flipped"].float().mean() < 1
    for step in range(6):
        ids, visits = record.batch(step), record["visits"][step].numpy()
        flipped, noise = flips(seed, ids, visits), normals(keys("posterior", seed, ids), visits, (3, 8, 8))
        assert torch.equal(torch.from_numpy(flipped), record["flipped"][step])
        assert torch.equal(record.posterior_noise(step, (3, 8, 8)), noise)
        rows = [data.index_of(name) for name in ids]
        mean, deviation = (
            torch.stack([posterior[int(f)][k][n] for n, f in zip(rows, flipped, strict=True)]) for k in (0, 1)
        )
        x = mean + deviation * noise
        t, epsilon = Draws(seed)(ids, visits, (3, 8, 8))
        with torch.no_grad():
            output = model.network(model.scheduler.add_noise(x, epsilon, t), t).sample
        losses = (output - model.scheduler.get_velocity(x, epsilon, t)).square().mean((1, 2, 3))
        torch.testing.assert_close(record["losses"][step], losses, atol=1e-5, rtol=1e-4)
        weights = artefacts.read_tensors(files[step])
        model.network.load_state_dict(
            {name.removeprefix("weights/"): w for name, w in weights.items() if name.startswith("weights/")}
        )


def test_each_setting_changes_training(run, data, latent_diffusion, tmp_path):
    others = {"mode": {"latents": "mode"}, "no flips": {"flip": False}}
    losses = [Record(run)["losses"]]
    for name, settings in others.items():
        train(data, tmp_path / name, CONFIG.updated("training", **settings), autoencoder=latent_diffusion)
        losses.append(Record(tmp_path / name)["losses"])
    assert all(not torch.equal(one[0], other[0]) for one, other in zip(losses, losses[1:] + losses[:1], strict=True))


@pytest.mark.parametrize("step", [1, 4])
def test_interrupted_it_goes_on_to_the_same_bytes(run, data, latent_diffusion, tmp_path, contents, step):
    def report(done: int, _total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion, engine=Engine(report=report))
    train(data, tmp_path / "ldm", CONFIG, autoencoder=latent_diffusion)
    assert contents(tmp_path / "ldm") == contents(run)


def test_a_visit_sees_the_same_whatever_the_batch(data, stable_diffusion):
    examples = Encoders.of(stable_diffusion).encode(data, augmentation=BOTH)
    rows, visits = np.array([3, 1, 4, 1, 5, 9, 2, 6]), np.array([0, 1, 2, 3, 4, 5, 6, 7])
    together, order = BOTH.x(examples, rows, visits), np.random.default_rng(0).permutation(8)
    assert torch.equal(BOTH.x(examples, rows[order], visits[order]), together[order])
    for n in range(8):
        assert torch.equal(BOTH.x(examples, rows[[n]], visits[[n]])[0], together[n])


def test_the_cost_is_known_beforehand(data, latent_diffusion):
    with_all = training_cost(data, CONFIG, autoencoder=latent_diffusion, engine=Engine(1)).disk
    mean = CONFIG.updated("training", latents="mode", flip=False)
    alone = training_cost(data, mean, autoencoder=latent_diffusion, engine=Engine(1)).disk
    assert with_all - alone == 10 * 3 * 8 * 8 * 4 * 3


def test_the_default_is_recorded_as_before(tmp_path):
    """Runs on the mean have the fingerprints and the bytes that they had before samples could be asked for."""
    assert "latents" not in Config().training.record()
    assert "latents" not in Config().to_toml()
    assert CONFIG.training.record()["latents"] == "sample"
    (tmp_path / "config.toml").write_text(CONFIG.to_toml())
    assert read_config(tmp_path / "config.toml") == CONFIG


SAMPLES = Config().updated("training", steps=1, batch_size=2, latents="sample")


def test_what_has_no_posterior_is_refused(data, latent_diffusion_folder, tmp_path):
    folder = latent_diffusion_folder("vq")
    with pytest.raises(ConfigError, match=r"needs the Gaussian posterior of an AutoencoderKL; a VQ autoencoder has no"):
        train(data, tmp_path / "vq", SAMPLES, autoencoder=folder)
    with pytest.raises(ConfigError, match="training.latents = sample is for adapters and networks of latents"):
        train(data, tmp_path / "pixels", SAMPLES)
    with pytest.raises(ConfigError, match="latents"):
        Config().updated("training", latents="mean")
    assert not list(tmp_path.iterdir())
    tensors = Examples(("a",), torch.zeros(1, 4, 8, 8))
    with pytest.raises(ConfigError, match="need their posterior, and these examples are tensors"):
        BOTH.x(tensors, np.array([0]), np.array([0]))
    latents = Latents({"values": Shards((torch.zeros(1, 4, 8, 8),))})
    with pytest.raises(ConfigError, match="no mirrored, but values. Encode the images anew"):
        Augmentation(0, flip=True).x(Examples(("a",), latents), np.array([0]), np.array([0]))


def test_a_vq_autoencoder_can_flip(data, latent_diffusion_folder, tmp_path):
    folder = latent_diffusion_folder("vq")
    train(data, tmp_path / "vq", CONFIG.updated("training", latents="mode", steps=1), autoencoder=folder)
    assert Record(tmp_path / "vq")["flipped"].any()


def test_an_encoding_without_mirror_images_is_refused(data, stable_diffusion, tmp_path):
    encoders = Encoders.of(stable_diffusion)
    encoders.encode(data, tmp_path / "encoding")
    with pytest.raises(ArtefactError, match="has no mirror images, which training.flip needs"):
        encoders.read(data, tmp_path / "encoding", BOTH)
    with pytest.raises(MismatchError, match="mirrored: there False, now True"):
        encoders.encode(data, tmp_path / "encoding", BOTH)
