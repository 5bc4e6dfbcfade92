import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.config import Config, TrainingConfig
from whence.data import write
from whence.diffusion.draws import Batches, Draws, flips
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.loop import checkpoint_steps, learning_rate
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ArtefactError, DataError, MismatchError, NotFiniteError, WhenceError


def checkpoint(path: Path, step: int) -> dict[str, torch.Tensor]:
    """The raw weights after a step."""
    saved = artefacts.read_tensors(path / "checkpoints" / f"{step:08d}.safetensors")
    return {name.removeprefix("weights/"): tensor for name, tensor in saved.items() if name.startswith("weights/")}


def averaged(path: Path) -> dict[str, torch.Tensor]:
    return artefacts.read_tensors(path / NETWORK_FILE)


def slow_training(data, config: Config, weights: dict[str, float] | None = None):
    """Training as in the textbook: no record, no saves, plain AdamW, EMA by hand.

    Returns the raw and the averaged weights, the losses of every step, and where the weights can be
    compared: Adam divides a gradient by its own size, so where it is rounding noise, so is the step.
    """
    training = config.training
    made = DiffusionModel.new(config.model, data.size, training.seed)
    names, parameters = zip(*made.network.train().named_parameters(), strict=True)
    optimiser = torch.optim.AdamW(
        parameters, betas=training.betas, weight_decay=training.weight_decay, fused=False, foreach=False
    )
    shadow = [p.detach().clone() for p in parameters]
    clear = [torch.ones_like(p, dtype=torch.bool) for p in parameters]
    draws = Draws(training.seed, config.model.timesteps, training.shared_noise, training.antithetic)
    alphas, losses = made.scheduler.alphas_cumprod.double(), []
    for step in range(training.steps):
        rows, visits = Batches(data.ids, training.batch_size, training.seed)(step)
        per_example = []
        for row, visit in zip(rows.tolist(), visits.tolist(), strict=True):
            name = data.ids[row]
            x = torch.from_numpy(data.pixels[row].astype(np.float32)) / 127.5 - 1
            if training.flip and flips(training.seed, [name], np.array([visit]))[0]:
                x = torch.from_numpy(x.numpy()[..., ::-1].copy())
            t, noise = draws([name], [visit], x.shape)
            a = alphas[t[0]].item()
            x_t = a**0.5 * x + (1 - a) ** 0.5 * noise[0]
            output = made.network(x_t[None], t).sample[0]
            v = a**0.5 * noise[0] - (1 - a) ** 0.5 * x
            per_example.append(((output - v) ** 2).mean())
        w = [(weights or {}).get(data.ids[row], 1.0) for row in rows]
        loss = sum(one * value for one, value in zip(w, per_example, strict=True)) / training.batch_size
        optimiser.zero_grad()
        loss.backward()
        for mask, p in zip(clear, parameters, strict=True):
            mask &= p.grad.abs() > 3e-5
        norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in parameters))
        for p in parameters:
            p.grad *= min(1.0, training.clip_norm / (norm + 1e-6))
        optimiser.param_groups[0]["lr"] = learning_rate(training, step)
        optimiser.step()
        # diffusers' EMAModel: the first step copies; then the decay rises as (1 + k) / (10 + k).
        decay = 0.0 if step == 0 else min(training.ema, (1 + step) / (10 + step))
        for average, p in zip(shadow, parameters, strict=True):
            average.mul_(decay).add_(p.detach(), alpha=1 - decay)
        losses.append([value.item() for value in per_example])
    raw = {name: p.detach() for name, p in zip(names, parameters, strict=True)}
    assert np.mean([mask.float().mean().item() for mask in clear]) > 0.5
    return raw, dict(zip(names, shadow, strict=True)), losses, dict(zip(names, clear, strict=True))


@pytest.fixture(scope="module")
def run(tiny_data, tiny_config, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    train(tiny_data, path, tiny_config)
    return path


@pytest.mark.parametrize("weights", [None, {"partial": 0.0}, {"partial": 2.5}])
@pytest.mark.parametrize("options", [{}, {"flip": True, "antithetic": True, "weight_decay": 0.1}])
def test_training_against_a_slow_reference(tiny_data, tiny_config, tmp_path, weights, options):
    config = tiny_config.updated("training", steps=5, checkpoints=1, **options)
    if weights:
        weights = dict.fromkeys(tiny_data.ids[::3], weights["partial"])
    train(tiny_data, tmp_path / "run", config, weights=weights)
    raw, shadow, losses, clear = slow_training(tiny_data, config, weights)
    assert torch.allclose(Record(tmp_path / "run")["losses"], torch.tensor(losses), rtol=1e-4)
    for found, expected in ((checkpoint(tmp_path / "run", 5), raw), (averaged(tmp_path / "run"), shadow)):
        assert found.keys() == expected.keys()
        for name in found:
            assert torch.allclose(found[name][clear[name]], expected[name][clear[name]], atol=5e-5), name


def test_weight_zero_is_a_zero_gradient(tiny_data, tiny_config, tmp_path):
    """With weight 0 for an example's batch mates, one step is the gradient of that example's l / B."""
    config = tiny_config.updated("training", steps=1, checkpoints=1, warmup=0, clip_norm=1e9, weight_decay=0.0)
    rows, visits = Batches(tiny_data.ids, 8, config.training.seed)(0)
    chosen = tiny_data.ids[rows[2]]
    weights = {name: float(name == chosen) for name in tiny_data.ids}
    train(tiny_data, tmp_path / "run", config, weights=weights)
    made = DiffusionModel.new(config.model, tiny_data.size, config.training.seed)
    t, noise = Draws(config.training.seed, 1000)([chosen], visits[2:3], tiny_data.size)
    (made.loss(tiny_data.images([rows[2]]), t, noise).sum() / 8).backward()
    optimiser = torch.optim.AdamW(
        made.network.parameters(),
        lr=config.training.learning_rate,
        betas=config.training.betas,
        weight_decay=0.0,
    )
    optimiser.step()
    found = checkpoint(tmp_path / "run", 1)
    # The first step of Adam is lr * sign(gradient): compare where the gradient is not rounding noise.
    for name, parameter in made.network.named_parameters():
        clear = parameter.grad.abs() > 1e-6
        assert torch.allclose(found[name][clear], parameter.detach()[clear], atol=1e-5), name


def test_weights_of_one_are_no_weights(tiny_data, tiny_config, run, tmp_path):
    train(tiny_data, tmp_path / "run", tiny_config, weights=dict.fromkeys(tiny_data.ids, 1.0))
    for name, tensor in averaged(run).items():
        assert torch.equal(tensor, averaged(tmp_path / "run")[name])


def test_the_same_run_twice_gives_the_same_bytes(tiny_data, tiny_config, run, tmp_path, contents):
    torch.manual_seed(12345)
    again = train(tiny_data, tmp_path / "run", tiny_config)
    assert contents(tmp_path / "run") == contents(run)
    assert again.fingerprint == artefacts.read_manifest(run, "model").fingerprint


def test_dropout_is_a_function_of_the_seed_too(tiny_data, tiny_config, tmp_path, contents):
    config = tiny_config.updated("model", dropout=0.3).updated("training", steps=3)
    for name in ("a", "b"):
        train(tiny_data, tmp_path / name, config)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_killed_and_resumed_is_bit_identical(tiny_data, tiny_config, run, tmp_path, fork_script, contents):
    """SIGKILL between steps, inside and between the files of a save, and while the run is sealed."""
    write(tiny_data, tmp_path / "data")
    (tmp_path / "config.toml").write_text(tiny_config.to_toml())
    names = fork_script(Path(__file__).parent / "kill_training.py", tmp_path, tmp_path / "config.toml").split()
    kinds = [name.partition("-")[0] for name in names]
    assert kinds.count("step") == 3
    assert min(kinds.count("before"), kinds.count("after")) >= 3
    assert kinds.count("removed") >= 1
    expected = contents(run)
    for name in names:
        path, progress = tmp_path / name, []
        train(tiny_data, path, tiny_config, engine=Engine(report=lambda done, _t, seen=progress: seen.append(done)))
        found = {name: data for name, data in contents(path).items() if not name.endswith(".tmp")}
        assert found == expected, name
        if name == "step-5":
            assert progress[0] == 4, "it went on from the last save"


def test_a_damaged_save_is_never_gone_on_from(tiny_data, tiny_config, run, tmp_path, contents, flip_byte):
    """Begun again or refused, but not continued from weights that nobody trained."""
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_data, path, tiny_config, engine=Engine(report=interrupt_at(5)))
    saves = list(Path(f"{path}.part").rglob("state*.safetensors"))
    assert saves
    for file in saves:
        flip_byte(file)
    train(tiny_data, path, tiny_config)
    assert contents(path) == contents(run)


def test_nothing_is_left_of_killed_writes(tiny_data, tiny_config, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_data, path, tiny_config, engine=Engine(report=interrupt_at(3)))
    leftover = Path(f"{path}.part") / ".examples.parquet.123.tmp"
    leftover.write_bytes(b"half a save")
    manifest = train(tiny_data, path, tiny_config)
    assert not [name for name in manifest.files if name.endswith(".tmp")]


def interrupt_at(step: int):
    def report(done: int, _total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return report


def test_a_whole_run_is_left_alone(tiny_data, tiny_config, run):
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    seen = []
    manifest = train(tiny_data, run, tiny_config, engine=Engine(report=lambda *progress: seen.append(progress)))
    assert seen == [(6, 6)]
    assert manifest == artefacts.read_manifest(run, "model")
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("change", ["data", "seed", "steps", "model", "weights"])
def test_another_request_is_refused(tiny_data, tiny_config, tmp_path, finished, change):
    path, config = tmp_path / "run", tiny_config.updated("training", steps=2)
    if finished:
        train(tiny_data, path, config)
    else:
        with pytest.raises(KeyboardInterrupt):
            train(tiny_data, path, config, engine=Engine(report=interrupt_at(1)))
    data, weights = tiny_data, None
    if change == "data":
        data = tiny_data.select(range(39))
    elif change == "model":
        config = config.updated("model", prediction="epsilon")
    elif change == "weights":
        weights = {tiny_data.ids[0]: 0.0}
    else:
        config = config.updated("training", **{change: 4})
    with pytest.raises(MismatchError, match=rf"from something else[\s\S]*{change}"):
        train(data, path, config, weights=weights)


def test_an_unknown_example_in_the_weights(tiny_data, tiny_config, tmp_path):
    with pytest.raises(DataError, match="no training example 'nobody'"):
        train(tiny_data, tmp_path / "run", tiny_config, weights={"nobody": 0.0})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(tiny_data, tiny_config, tmp_path, value):
    with pytest.raises(WhenceError, match="weight"):
        train(tiny_data, tmp_path / "run", tiny_config, weights=dict.fromkeys(tiny_data.ids, value))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_diverging_run_names_step_layer_and_examples(tiny_data, tiny_config, tmp_path, precision):
    config = tiny_config.updated("training", learning_rate=1e30, precision=precision)
    with pytest.raises(NotFiniteError) as caught:
        train(tiny_data, tmp_path / "run", config)
    message = str(caught.value)
    assert "training step 1" in message
    assert "The first layer whose output is not finite is time_embedding" in message
    rows, _ = Batches(tiny_data.ids, 8, config.training.seed)(1)
    assert ", ".join(tiny_data.ids[row] for row in rows[:5]) in message
    assert not (tmp_path / "run").exists()


def test_a_seed_out_of_range_is_refused(tiny_data, tiny_config, tmp_path):
    with pytest.raises(WhenceError, match="seed"):
        train(tiny_data, tmp_path / "run", tiny_config.updated("training", seed=2**70))


def test_save_every_does_not_change_the_weights(tiny_data, tiny_config, run, tmp_path):
    for every in (4, 100):
        path = tmp_path / f"{every}"
        train(tiny_data, path, tiny_config.updated("training", save_every=every))
        for step in (3, 6):
            for name, tensor in checkpoint(run, step).items():
                assert torch.equal(tensor, checkpoint(path, step)[name])
        for name, tensor in averaged(run).items():
            assert torch.equal(tensor, averaged(path)[name])
        assert torch.equal(Record(run)["losses"], Record(path)["losses"])


def test_the_run_opens_as_a_model_with_the_averaged_weights(run):
    loaded = dict(DiffusionModel.load(run).network.named_parameters())
    for name, tensor in averaged(run).items():
        assert torch.equal(tensor, loaded[name])
    assert any(not torch.equal(tensor, checkpoint(run, 6)[name]) for name, tensor in averaged(run).items())


def test_checkpoints_are_the_raw_weights_at_their_steps(tiny_data, tiny_config, run):
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == [
        "00000003.safetensors",
        "00000006.safetensors",
    ]
    raw, _, _, clear = slow_training(tiny_data, tiny_config)
    for name, tensor in checkpoint(run, 6).items():
        assert torch.allclose(raw[name][clear[name]], tensor[clear[name]], atol=5e-5), name


def test_a_checkpoint_states_its_step_and_learning_rate(tiny_config, run):
    for step in (3, 6):
        saved = artefacts.read_tensors(run / "checkpoints" / f"{step:08d}.safetensors")
        assert int(saved["step"]) == step
        assert saved["learning_rate"].item() == learning_rate(tiny_config.training, step - 1)
        assert saved["learning_rate"].item() == Record(run)["learning_rate"][step - 1].item()


def test_the_record_is_checked_by_hash_before_it_is_believed(run, tmp_path, flip_byte):
    copy = shutil.copytree(run, tmp_path / "copy")
    flip_byte(next((copy / "record").iterdir()))
    with pytest.raises(ArtefactError, match="is damaged"):
        Record(copy).seen()


@pytest.mark.parametrize(
    ("steps", "count", "expected"),
    [(6, 2, [3, 6]), (10, 4, [2, 5, 7, 10]), (5, 5, [1, 2, 3, 4, 5]), (7, 1, [7]), (3, 0, []), (2, 4, [1, 2])],
)
def test_checkpoint_steps_are_even_and_end_with_the_last(steps, count, expected):
    assert checkpoint_steps(TrainingConfig(steps=steps, checkpoints=count)) == expected


@pytest.mark.parametrize(("steps", "warmup"), [(20, 5), (20, 0), (3, 10), (1, 0)])
def test_learning_rate_schedule(steps, warmup):
    config = TrainingConfig(steps=steps, warmup=warmup, learning_rate=0.5, checkpoints=0)
    for step in range(steps):
        if step < warmup:
            expected = 0.5 * (step + 1) / warmup
        else:
            expected = 0.25 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        assert learning_rate(config, step) == pytest.approx(expected)
        assert 0 < learning_rate(config, step) <= 0.5


def test_the_record_gives_back_what_every_step_saw(tiny_data, tiny_config, tmp_path):
    config = tiny_config.updated("training", flip=True)
    path = tmp_path / "run"
    train(tiny_data, path, config)
    record = Record(path)
    assert len(record) == 6
    assert record.ids == tiny_data.ids
    seen = set()
    for step in range(6):
        rows, visits = Batches(tiny_data.ids, 8, config.training.seed)(step)
        ids = [tiny_data.ids[row] for row in rows]
        assert record.batch(step) == ids
        assert record["visits"][step].tolist() == visits.tolist()
        assert record["flipped"][step].tolist() == flips(config.training.seed, ids, visits).tolist()
        assert record["learning_rate"][step].item() == learning_rate(config.training, step)
        seen |= set(ids)
    assert record.seen() == seen
    assert 0 < record["flipped"].float().mean() < 1


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"antithetic": True}, {"shared_noise": True}])
def test_the_losses_of_step_0_come_again_from_the_record(tiny_data, tiny_config, tmp_path, options):
    config = tiny_config.updated("training", steps=2, **options)
    train(tiny_data, tmp_path / "run", config)
    record = Record(tmp_path / "run")
    x = tiny_data.images([tiny_data.index_of(name) for name in record.batch(0)])
    flipped = record["flipped"][0]
    x[flipped] = x[flipped].flip(-1)
    made = DiffusionModel.new(config.model, tiny_data.size, config.training.seed)
    with torch.no_grad():
        losses = made.loss(x, record["timesteps"][0].long(), record.noise(0, tiny_data.size))
    assert torch.allclose(losses, record["losses"][0], rtol=1e-6)


def test_a_record_of_another_seed_is_noticed(run, tmp_path):
    record = Record(run)
    vars(record)["training"] = record.training.model_copy(update={"seed": 99})
    with pytest.raises(ArtefactError, match="not of its seed: step 0 has other timesteps"):
        record.noise(0, (1, 8, 8))


def test_a_record_with_rows_of_nobody_is_damaged(run):
    record = Record(run)
    vars(record)["_steps"] = {**record._steps, "rows": record["rows"] + len(record.ids)}
    for read in (record.seen, lambda: record.batch(0)):
        with pytest.raises(ArtefactError, match="names examples that the run doesn't have"):
            read()


def test_a_record_that_lacks_steps_is_noticed(run, tmp_path):
    path = shutil.copytree(run, tmp_path / "run")
    (path / "record" / "00000002.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"00000002.safetensors is missing"):
        Record(path)["rows"]


def test_shared_noise_gives_the_examples_of_a_visit_one_timestep(tiny_data, tiny_config, tmp_path):
    train(tiny_data, tmp_path / "run", tiny_config.updated("training", steps=2, shared_noise=True))
    record = Record(tmp_path / "run")
    assert len(set(record["timesteps"][0].tolist())) == 1
    noise = record.noise(0, (1, 8, 8))
    assert torch.equal(noise[0], noise[5])


def test_bfloat16_trains(tiny_data, tiny_config, run, tmp_path):
    train(tiny_data, tmp_path / "run", tiny_config.updated("training", precision="bfloat16"))
    half, full = Record(tmp_path / "run")["losses"], Record(run)["losses"]
    assert torch.isfinite(half).all()
    assert not torch.equal(half, full)
    assert torch.allclose(half, full, rtol=0.1)
    assert all(tensor.dtype == torch.float32 for tensor in averaged(tmp_path / "run").values())


def test_training_learns(tiny_data, tiny_config, tmp_path):
    config = tiny_config.updated("training", steps=80, learning_rate=4e-3, save_every=80)
    train(tiny_data, tmp_path / "run", config)
    losses = Record(tmp_path / "run")["losses"]
    assert losses[-20:].mean() < 0.7 * losses[:5].mean()


def test_the_run_directory(run, tiny_data, tiny_config):
    manifest = artefacts.read_manifest(run, "model")
    assert manifest.inputs == {"data": tiny_data.fingerprint, "weights": None}
    assert manifest.made == {
        "model": tiny_config.model.record(),
        "training": tiny_config.training.record(),
    }
    assert manifest.facts["parameters"] == sum(tensor.numel() for tensor in averaged(run).values())
    assert artefacts.read_table(run / "examples.parquet") == {
        "id": list(tiny_data.ids),
        "weight": [1.0] * 40,
    }
    assert not list(run.rglob("*.bin")) + list(run.rglob("*.pt")) + list(run.rglob("*.pkl"))
    assert not (run / "state.safetensors").exists()
    artefacts.verify(run, manifest)
