import numpy as np
import psutil
import pytest
import torch

from whence.config import Config
from whence.data import Dataset
from whence.diffusion import memory
from whence.diffusion.families.unet import complete_config
from whence.diffusion.loop import Loop
from whence.diffusion.memory import free_memory, require_memory
from whence.diffusion.training import train, training_cost
from whence.diffusion.training_request import NetworkRequest
from whence.engine import Engine
from whence.errors import ConfigError

CPU = torch.device("cpu")
MIB = 2**20


def peaks_of(monkeypatch, base: int, each: int, free: int) -> None:
    """Let a step on n examples take base + n · each bytes."""
    monkeypatch.setattr(memory, "_peak", lambda loss, count, device: base + each * count)
    monkeypatch.setattr(memory, "free_memory", lambda device: free)


@pytest.mark.parametrize(("free", "fitting"), [(1000, None), (600, 57), (200, 15)])
def test_the_batch_that_fits_is_named(monkeypatch, free, fitting):
    peaks_of(monkeypatch, 50 * MIB, 9 * MIB, free * MIB)
    if fitting is None:
        require_memory(None, 64, 2 * MIB, CPU)
        return
    with pytest.raises(ConfigError, match=f"Set training.batch_size to {fitting} or less"):
        require_memory(None, 64, 2 * MIB, CPU)
    require_memory(None, fitting, 2 * MIB, CPU)


def test_where_not_even_one_example_fits_it_says_so(monkeypatch):
    peaks_of(monkeypatch, 50 * MIB, 9 * MIB, 20 * MIB)
    with pytest.raises(ConfigError, match="Use a smaller network or resolution"):
        require_memory(None, 64, 0, CPU)


def test_free_memory_counts_what_is_used_now_and_heeds_a_limit(monkeypatch, tmp_path):
    assert free_memory(CPU) <= psutil.virtual_memory().total
    for name, value in (("_GROUP_LIMIT", 5 * MIB), ("_GROUP_USED", 2 * MIB)):
        (tmp_path / name).write_text(str(value))
        monkeypatch.setattr(memory, name, tmp_path / name)
    used = psutil.Process().memory_info().rss
    assert free_memory(CPU) == pytest.approx(used + 3 * MIB, rel=0.05)


def images(side: int, count: int = 4) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return Dataset(tuple("abcd"[:count]), pixels, tuple((n,) for n in "abcd"[:count]), (None,) * count)


@pytest.mark.parametrize(("side", "batch"), [(8, 128), (32, 128), (64, 32), (128, 8), (256, 2), (1024, 1)])
def test_the_default_batch_shrinks_with_the_images(side, batch):
    assert complete_config(Config(), (3, side, side)).training.batch_size == batch


def test_a_run_that_does_not_fit_is_refused_and_leaves_the_same_weights_where_it_fits(monkeypatch, tmp_path):
    config = Config().updated("model", channels=(8,)).updated("training", steps=2, batch_size=128, warmup=0)
    train(images(32), tmp_path / "unchecked", config.updated("training", batch_size=16), engine=Engine(1))
    monkeypatch.setattr("whence.diffusion.training.LARGE", 0)
    train(images(32), tmp_path / "checked", config.updated("training", batch_size=16), engine=Engine(1))
    weights = [tmp_path / name / "unet/diffusion_pytorch_model.safetensors" for name in ("unchecked", "checked")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    peaks_of(monkeypatch, 50 * MIB, 9 * MIB, 100 * MIB)
    with pytest.raises(ConfigError, match="A training step on 128 images needs about 1"):
        train(images(32), tmp_path / "refused", config, engine=Engine(1))
    assert not list(tmp_path.glob("refused*")), "another batch size may be tried at the same place"


def test_the_first_losses_are_those_of_the_step(tmp_path):
    request = NetworkRequest.of(images(8), Config().updated("model", channels=(8,)))
    loop = Loop.start(request.stand_in(), np.ones(4), request.config.training, tmp_path, request.model())
    assert loop._first_losses(3).shape == (3,)


def test_the_plan_promises_no_less_than_was_used():
    config = Config().updated("model", channels=(16,)).updated("training", batch_size=32)
    cost = training_cost(images(32), config, engine=Engine(1))
    assert cost.memory >= psutil.Process().memory_info().rss * 0.9


def test_a_plan_counts_the_checkpoints_that_are_kept():
    """As many as there are steps, at most."""
    config = Config().updated("model", channels=(8,)).updated("training", steps=2, batch_size=4)
    counts = [config.updated("training", checkpoints=count) for count in (1, 2, 9)]
    disks = [training_cost(images(8), each, engine=Engine(1)).disk for each in counts]
    assert disks[0] < disks[1] == disks[2]
