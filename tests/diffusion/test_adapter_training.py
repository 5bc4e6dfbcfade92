"""Training of adapters: against a plain loop on PEFT's own LoRA, interrupted, loaded by diffusers, and refused."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file

from whence import artefacts
from whence.config import Config
from whence.data import Dataset, write
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.adapters.initial_weights import initial_weights
from whence.diffusion.draws import Batches, Draws
from whence.diffusion.encoding import Encoders
from whence.diffusion.loop import learning_rate
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.record import Record
from whence.diffusion.training import train, training_cost
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError, ModelError, NotFiniteError

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

WEIGHTS = "pytorch_lora_weights.safetensors"
CONFIG = (
    Config()
    .updated("training", steps=6, batch_size=3, warmup=2, checkpoints=2, save_every=2, learning_rate=1e-2, seed=3)
    .updated("adapter", rank=4, alpha=6.0)
)


def with_captions(count: int, side: int = 16) -> Dataset:
    """Random pictures; their ids are not in the order of the alphabet, and the first one has no caption."""
    ids = tuple("hgfedcba"[:count])
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    captions = tuple(f"picture {n % 3}" if n else None for n in range(count))
    return Dataset(ids, pixels, tuple((name,) for name in ids), captions)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return with_captions(8)


@pytest.fixture(scope="module")
def run(data, stable_diffusion, tmp_path_factory) -> Path:
    """A finished run of `CONFIG`; only to be read."""
    path = tmp_path_factory.mktemp("adapter") / "lora"
    train(data, path, CONFIG, base=stable_diffusion)
    return path


@pytest.fixture
def base(stable_diffusion, tmp_path) -> Path:
    """A copy of the base that a test may change."""
    return shutil.copytree(stable_diffusion, tmp_path / "sd")


def checkpoint(path: Path, step: int) -> dict[str, torch.Tensor]:
    """The raw weights after a step."""
    saved = artefacts.read_tensors(path / "checkpoints" / f"{step:08d}.safetensors")
    return {name.removeprefix("weights/"): tensor for name, tensor in saved.items() if name.startswith("weights/")}


def interrupt_at(step: int):
    def report(done: int, _total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return report


def plain_training(data: Dataset, folder: Path, config: Config) -> tuple[dict[str, torch.Tensor], list[list[float]]]:
    """Training as in the scripts of diffusers: PEFT's LoRA in the pipeline's own network, and a plain loop."""
    training, adapter = config.training, config.adapter
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    random = initial_weights(pipe.unet, adapter, training.seed).network
    lora = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
    unet = inject_adapter_in_model(lora, pipe.unet.requires_grad_(False)).train()
    parameters = {name: p for name, p in unet.named_parameters() if p.requires_grad}
    for name, layer in random.items():
        parameters[f"{name}.lora_A.default.weight"].data = layer.A.clone()
    assert len(parameters) == 2 * len(random)
    with torch.no_grad():
        pixels = torch.from_numpy(data.pixels).float() / 127.5 - 1
        latents = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
        text = torch.cat([pipe.encode_prompt(caption or "", "cpu", 1, False)[0] for caption in data.captions])
    optimiser = torch.optim.AdamW(parameters.values(), betas=training.betas, weight_decay=training.weight_decay)
    losses = []
    for step in range(training.steps):
        rows, visits = Batches(data.ids, training.batch_size, training.seed)(step)
        t, noise = Draws(training.seed)([data.ids[n] for n in rows], visits, latents.shape[1:])
        noised = pipe.scheduler.add_noise(latents[rows], noise, t)
        per_example = (unet(noised, t, text[rows]).sample - noise).square().mean((1, 2, 3))
        losses.append(per_example.tolist())
        optimiser.zero_grad()
        per_example.mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), training.clip_norm)
        optimiser.param_groups[0]["lr"] = learning_rate(training, step)
        optimiser.step()
    return {name.replace(".default.", ".0."): p.detach() for name, p in parameters.items()}, losses


def test_three_steps_are_those_of_a_plain_loop_on_pefts_lora(data, stable_diffusion, tmp_path):
    config = CONFIG.updated("training", steps=3, checkpoints=1, learning_rate=1e-3)
    train(data, tmp_path / "lora", config, base=stable_diffusion)
    weights, losses = plain_training(data, stable_diffusion, config)
    torch.testing.assert_close(Record(tmp_path / "lora")["losses"], torch.tensor(losses), atol=1e-5, rtol=1e-5)
    found = checkpoint(tmp_path / "lora", 3)
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-5, msg=name)
    assert all(weight.any() for name, weight in weights.items() if "lora_B" in name)


def test_the_initial_weights_are_pefts_in_distribution():
    network = torch.nn.ModuleDict({"wide": torch.nn.Linear(400, 3), "conv": torch.nn.Conv2d(10, 6, 3)})
    weights = initial_weights(network, CONFIG.updated("adapter", rank=64, target="").adapter, 0).network
    assert weights["conv"].A.shape == (64, 10, 3, 3)
    assert weights["conv"].B.shape == (6, 64, 1, 1)
    for name, inputs in (("wide", 400), ("conv", 90)):
        bound, a = 1 / math.sqrt(inputs), weights[name].A
        assert 0.99 * bound < a.abs().max() <= bound
        assert a.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert not weights[name].B.any()
        assert weights[name].scale == 6 / 64


def test_a_pipeline_opens_the_run_to_the_same_network(run, stable_diffusion):
    pipe = StableDiffusionPipeline.from_pretrained(stable_diffusion, local_files_only=True)
    t, make = torch.tensor([10, 900]), torch.Generator().manual_seed(0)
    x, text = torch.randn(2, 4, 8, 8, generator=make), torch.randn(2, 16, 16, generator=make)
    with torch.no_grad():
        plain = pipe.unet(x, t, text).sample
        pipe.load_lora_weights(run)
        theirs = pipe.unet(x, t, text).sample
        ours = DiffusionModel.load(stable_diffusion, adapters=(Adapter(run),)).output(x, t, encoder_hidden_states=text)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(theirs, plain, atol=1e-3)


def test_the_run_directory(run, data, stable_diffusion):
    manifest = artefacts.read_manifest(run, "model")
    assert manifest.inputs["data"] == data.fingerprint
    assert manifest.inputs["base"]["network"] == fingerprint(DiffusionModel.load(stable_diffusion))
    assert manifest.inputs["base"].keys() == {"network", "autoencoder", "text_encoder"}
    assert manifest.made["adapter"] == CONFIG.adapter.record()
    assert manifest.made["model"] == {"timesteps": 1000, "prediction": "epsilon"}
    assert manifest.facts["base"] == str(stable_diffusion)
    assert manifest.facts["notes"] == ["1 of 8 pictures have no caption; they get the empty one: h."]
    assert manifest.parts.keys() == {"encoding"}
    assert {name.split("/")[0] for name in manifest.files} == {
        *("checkpoints", "config.toml", "examples.parquet", "record", WEIGHTS)
    }
    weights = checkpoint(run, 6)
    assert all(".lora_" in name for name in weights)
    assert manifest.facts["parameters"] == sum(weight.numel() for weight in weights.values())
    record = Record(run)
    assert record.seen() == set(data.ids)
    assert record["losses"].shape == (6, 3)
    artefacts.verify(run, manifest)


def test_the_base_is_left_as_it_is(base, data, tmp_path, contents):
    before = contents(base)
    train(data, tmp_path / "lora", CONFIG, base=base)
    assert contents(base) == before


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(run, data, stable_diffusion, tmp_path, contents):
    torch.manual_seed(12345)
    again = train(data, tmp_path / "again", CONFIG, base=stable_diffusion)
    assert contents(tmp_path / "again") == contents(run)
    assert again.fingerprint == artefacts.read_manifest(run, "model").fingerprint
    train(data, tmp_path / "other", CONFIG.updated("training", seed=4), base=stable_diffusion)
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (run / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(run, data, stable_diffusion, tmp_path, fork_script, contents):
    """SIGKILL between steps, inside and between the files of encoding and saves, and while the run is sealed."""
    write(data, tmp_path / "data")
    (tmp_path / "config.toml").write_text(CONFIG.to_toml())
    script = Path(__file__).parent / "kill_training.py"
    lines = fork_script(script, tmp_path, tmp_path / "config.toml", stable_diffusion).splitlines()
    names = [line for line in lines if line.partition("-")[0] in ("step", "before", "after", "removed")]
    kinds = [name.partition("-")[0] for name in names]
    assert kinds.count("step") == 3
    assert min(kinds.count("before"), kinds.count("after")) >= 4
    expected = contents(run)
    for name in names:
        train(data, tmp_path / name, CONFIG, base=stable_diffusion)
        found = {file: content for file, content in contents(tmp_path / name).items() if not file.endswith(".tmp")}
        assert found == expected, name


@pytest.mark.parametrize("step", [0, 3, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 5))])
def test_interrupted_it_goes_on_from_the_last_save(run, data, stable_diffusion, tmp_path, contents, step):
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "lora", CONFIG, base=stable_diffusion, engine=Engine(report=interrupt_at(step)))
    saves = list(Path(f"{tmp_path / 'lora'}.part").rglob("state-*.safetensors"))
    assert len(saves) == min(step // 2, 1)
    seen: list[int] = []
    engine = Engine(report=lambda done, _total: seen.append(done))
    train(data, tmp_path / "lora", CONFIG, base=stable_diffusion, engine=engine)
    assert seen[0] == step // 2 * 2
    assert contents(tmp_path / "lora") == contents(run)


def test_saves_are_as_small_as_the_adapter(data, stable_diffusion, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "lora", CONFIG, base=stable_diffusion, engine=Engine(report=interrupt_at(3)))
    [save] = Path(f"{tmp_path / 'lora'}.part").rglob("state-*.safetensors")
    tensors = load_file(save)
    assert all(".lora_" in name for name in tensors)
    assert {name.partition("/")[0] for name in tensors} == {"weights", "ema", "exp_avg", "exp_avg_sq"}


def test_an_example_of_weight_zero_may_as_well_be_another_one(data, stable_diffusion, tmp_path):
    """The run without it: the same steps, of which none depends on its picture or its caption."""
    pixels, captions = data.pixels.copy(), ("something else", *data.captions[1:])
    pixels[0] = 255 - pixels[0]
    others = replace(data, pixels=pixels, captions=captions)
    for weight in (0.0, 1.0):
        for name, images in (("one", data), ("other", others)):
            path = tmp_path / f"{name}{weight}"
            train(images, path, CONFIG, weights={data.ids[0]: weight}, base=stable_diffusion)
        weights = [(tmp_path / f"{name}{weight}" / WEIGHTS).read_bytes() for name in ("one", "other")]
        assert (weights[0] == weights[1]) == (weight == 0.0)
    assert dict(zip(Record(tmp_path / "one0.0").ids, Record(tmp_path / "one0.0").weights, strict=True)) == {
        name: float(name != data.ids[0]) for name in data.ids
    }


def test_averaged_weights_are_those_of_a_plain_average(run, data, stable_diffusion, tmp_path):
    config = CONFIG.updated("training", checkpoints=6)
    train(data, tmp_path / "lora", config, base=stable_diffusion)
    average = checkpoint(tmp_path / "lora", 1)
    for step in range(2, 7):
        decay = min(config.training.ema, step / (9 + step))
        average = {
            name: decay * average[name] + (1 - decay) * weight
            for name, weight in checkpoint(tmp_path / "lora", step).items()
        }
    for name, layer in read_adapter(Adapter(run)).network.items():
        torch.testing.assert_close(layer.A, average[f"{name}.lora_A.0.weight"], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(layer.B, 1.5 * average[f"{name}.lora_B.0.weight"], atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_it_learns(data, stable_diffusion, tmp_path):
    config = CONFIG.updated("training", steps=30, batch_size=8, learning_rate=2e-2, save_every=30).updated(
        "adapter", target="conv"
    )
    train(data, tmp_path / "lora", config, base=stable_diffusion)
    examples = Encoders.of(stable_diffusion).encode(data)
    rows, losses = list(range(8)) * 4, []
    t, noise = Draws(seed=99)([data.ids[n] for n in rows], np.arange(32) // 8, (4, 8, 8))
    for adapters in ((), (Adapter(tmp_path / "lora"),)):
        model = DiffusionModel.load(stable_diffusion, adapters=adapters)
        with torch.no_grad():
            losses.append(model.loss(examples.x(rows), t, noise, **examples.conditions_of(rows)).mean())
    assert losses[1] < 0.9 * losses[0]


def test_only_the_layers_that_are_named_are_changed(data, stable_diffusion, tmp_path):
    config = CONFIG.updated("adapter", target=r"mid_block.*attn2\.to_[kv]|conv_in")
    train(data, tmp_path / "lora", config, base=stable_diffusion)
    names = sorted(read_adapter(Adapter(tmp_path / "lora")).network)
    assert [name.rpartition(".")[2] for name in names] == ["conv_in", "to_k", "to_v"]
    DiffusionModel.load(stable_diffusion, adapters=(Adapter(tmp_path / "lora"),))


@pytest.mark.parametrize(("side", "resolution"), [(16, None), (24, 24)])
def test_another_resolution(data, stable_diffusion, tmp_path, side, resolution):
    config = CONFIG.updated("adapter", resolution=resolution)
    train(with_captions(3, side), tmp_path / "lora", config, base=stable_diffusion)
    assert artefacts.read_manifest(tmp_path / "lora", "model").made["adapter"]["resolution"] == resolution


def test_the_cost_is_that_of_the_adapter(data, stable_diffusion):
    cost = training_cost(data, CONFIG, base=stable_diffusion, engine=Engine(1))
    assert "1 x 6 steps of " in cost.work
    assert "2,752 parameters each" in cost.work
    assert cost.disk < 200_000


CHANGES = {
    "rank": (lambda c: c.updated("adapter", rank=8), "made.adapter.rank: there 4, now 8"),
    "alpha": (lambda c: c.updated("adapter", alpha=4.0), "made.adapter.alpha: there 6.0, now 4.0"),
    "target": (lambda c: c.updated("adapter", target="attn2"), "made.adapter.target: there"),
    "caption dropout": (lambda c: c.updated("training", caption_dropout=0.5), "made.training.caption_dropout"),
    "seed": (lambda c: c.updated("training", seed=4), "made.training.seed: there 3, now 4"),
}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_another_request_is_refused_by_name(run, data, stable_diffusion, tmp_path, finished, change, message):
    path = run
    if not finished:
        path = tmp_path / "lora"
        with pytest.raises(KeyboardInterrupt):
            train(data, path, CONFIG, base=stable_diffusion, engine=Engine(report=interrupt_at(1)))
    with pytest.raises(MismatchError, match=message):
        train(data, path, change(CONFIG), base=stable_diffusion)


def another_network(base: Path) -> None:
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"] += 1
    save_file(weights, file, {"format": "pt"})


def another_schedule(base: Path) -> None:
    file = base / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"beta_end": 0.02}))


def another_autoencoder(base: Path) -> None:
    file = base / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scaling_factor": 0.5}))


def another_text_encoder(base: Path) -> None:
    file = base / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("final_layer_norm.bias"))
    weights[name] += 1
    save_file(weights, file, {"format": "pt"})


OTHERS = {
    "network": another_network,
    "schedule": another_schedule,
    "autoencoder": another_autoencoder,
    "text_encoder": another_text_encoder,
}


@pytest.mark.parametrize("part", OTHERS)
def test_another_base_is_refused_by_name(run, data, base, part):
    OTHERS[part](base)
    name = "network" if part == "schedule" else part
    with pytest.raises(MismatchError, match=rf"from something else[\s\S]*inputs.base.{name}: there"):
        train(data, run, CONFIG, base=base)


def remove(part: str):
    return lambda base: shutil.rmtree(base / part)


def nan_weights(base: Path) -> None:
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"][0] = torch.nan
    save_file(weights, file, {"format": "pt"})


def nan_latents(base: Path) -> None:
    file = base / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["encoder.conv_in.bias"] = torch.full_like(weights["encoder.conv_in.bias"], 1e38)
    save_file(weights, file)


def same(base: Path) -> None:
    pass


REFUSED = {
    "no base": (shutil.rmtree, {}, ArtefactError, "is no folder of diffusers"),
    "no text encoder": (remove("text_encoder"), {}, ArtefactError, "has no text_encoder"),
    "no autoencoder": (remove("vae"), {}, ArtefactError, "has no autoencoder"),
    "weights that are not finite": (nan_weights, {}, NotFiniteError, "conv_in.bias .* are not finite"),
    "latents that are not finite": (nan_latents, {}, NotFiniteError, "gives latents that are not finite"),
    "a rate that diverges": (same, {"training": {"learning_rate": 1e30}}, NotFiniteError, "training step [0-9]"),
    "no such layer": (same, {"adapter": {"target": "nothing"}}, ConfigError, "name that contains 'nothing'"),
    "another size": (same, {"adapter": {"resolution": 32}}, DataError, "16x16 pixels; the model draws 32x32"),
}


@pytest.mark.parametrize(("change", "settings", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_one_clear_sentence(data, base, tmp_path, change, settings, error, message):
    change(base)
    config = CONFIG
    for section, values in settings.items():
        config = config.updated(section, **values)
    with pytest.raises(error, match=message):
        train(data, tmp_path / "lora", config, base=base)
    assert not (tmp_path / "lora").exists()


def test_a_base_without_text(data, latent_diffusion, tmp_path):
    with pytest.raises(ModelError, match="takes no text and no classes, and adapters are trained on models of either"):
        train(data, tmp_path / "lora", CONFIG, base=latent_diffusion)


def test_settings_of_an_adapter_need_a_base(data, tmp_path):
    with pytest.raises(ConfigError, match="no base to train it on. Give one: --base BASE"):
        train(data, tmp_path / "lora", CONFIG)


@pytest.mark.parametrize(("name", "value"), [("rank", 0), ("alpha", 0.0), ("target", "[")])
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        Config().updated("adapter", **{name: value})
