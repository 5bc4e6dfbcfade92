"""Training that goes on from a model: `train(..., start=model)`."""

import copy
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler

from whence import artefacts
from whence.config import Config
from whence.diffusion.families.unet import NETWORK_FILE
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.record import Record
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import DataError, MismatchError, ModelError, NotFiniteError


@pytest.fixture
def config(tiny_bank_config) -> Config:
    """Four steps of a network with one level."""
    return tiny_bank_config.updated("training", checkpoints=1)


@pytest.fixture
def fresh(config, tiny_data) -> DiffusionModel:
    return DiffusionModel.new(config.model, tiny_data.size, seed=7)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return artefacts.read_tensors(path / NETWORK_FILE)


def interrupt_at(step: int):
    def report(done: int, _total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return report


def test_from_the_untrained_network_of_the_seed_it_is_the_run_itself(tiny_data, config, tmp_path):
    train(tiny_data, tmp_path / "run", config)
    start = DiffusionModel.new(config.model, tiny_data.size, config.training.seed)
    train(tiny_data, tmp_path / "on", config, start=start)
    assert fingerprint(DiffusionModel.load(tmp_path / "on")) == fingerprint(DiffusionModel.load(tmp_path / "run"))
    assert torch.equal(Record(tmp_path / "on")["losses"], Record(tmp_path / "run")["losses"])


def test_without_a_gradient_the_model_stays_as_it_is(tiny_data, config, fresh, tmp_path):
    config = config.updated("training", weight_decay=0.0)
    train(tiny_data, tmp_path / "on", config, weights=dict.fromkeys(tiny_data.ids, 0.0), start=fresh)
    assert fingerprint(DiffusionModel.load(tmp_path / "on")) == fingerprint(fresh)


def test_a_learning_rate_next_to_nothing_changes_next_to_nothing(tiny_data, config, fresh, tmp_path):
    train(tiny_data, tmp_path / "on", config.updated("training", learning_rate=1e-30), start=fresh)
    before, after = fresh.network.state_dict(), weights(tmp_path / "on")
    assert max((after[name] - before[name]).abs().max().item() for name in before) < 1e-28


@pytest.mark.parametrize("given", ["frozen", "in half precision", "in training mode"])
def test_the_model_given_is_left_as_it_is(tiny_data, config, fresh, tmp_path, given):
    if given == "frozen":
        fresh.network.requires_grad_(False)
    elif given == "in half precision":
        fresh.network.half()
    else:
        fresh.network.train()
    before, modes = fingerprint(fresh), [module.training for module in fresh.network.modules()]
    train(tiny_data, tmp_path / "on", config, start=fresh)
    assert fingerprint(fresh) == before != fingerprint(DiffusionModel.load(tmp_path / "on"))
    assert [module.training for module in fresh.network.modules()] == modes
    assert all(p.requires_grad != (given == "frozen") for p in fresh.network.parameters())


def test_two_halves_are_not_a_whole_but_begin_where_the_first_ended(tiny_data, config, tmp_path):
    """The second run has moments of zero and a schedule of its own; its step 0 sees the first one's weights."""
    train(tiny_data, tmp_path / "one", config)
    first = DiffusionModel.load(tmp_path / "one")
    train(tiny_data, tmp_path / "two", config, start=first)
    record = Record(tmp_path / "two")
    x = tiny_data.images([tiny_data.index_of(name) for name in record.batch(0)])
    with torch.no_grad():
        expected = first.loss(x, record["timesteps"][0].long(), record.noise(0, tiny_data.size))
    assert torch.allclose(record["losses"][0], expected, rtol=1e-6)
    assert not torch.allclose(Record(tmp_path / "one")["losses"][0], expected, rtol=1e-2)


@pytest.mark.parametrize("step", [0, 1, 3])
def test_interrupted_it_goes_on_to_the_same_bytes(tiny_data, config, fresh, tmp_path, contents, step):
    config = config.updated("training", save_every=2)
    train(tiny_data, tmp_path / "whole", config, start=fresh)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_data, tmp_path / "on", config, start=fresh, engine=Engine(report=interrupt_at(step)))
    seen = []
    train(tiny_data, tmp_path / "on", config, start=fresh, engine=Engine(report=lambda done, _total: seen.append(done)))
    assert seen[0] == step // 2 * 2
    assert contents(tmp_path / "on") == contents(tmp_path / "whole")


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("other", ["another model", "new weights"])
def test_another_start_is_refused(tiny_data, config, fresh, tmp_path, finished, other):
    if finished:
        train(tiny_data, tmp_path / "on", config, start=fresh)
    else:
        with pytest.raises(KeyboardInterrupt):
            train(tiny_data, tmp_path / "on", config, start=fresh, engine=Engine(report=interrupt_at(1)))
    start = DiffusionModel.new(config.model, tiny_data.size, seed=8) if other == "another model" else None
    with pytest.raises(MismatchError, match=r"from something else[\s\S]*start"):
        train(tiny_data, tmp_path / "on", config, start=start)


def test_the_settings_of_the_network_do_not_matter(tiny_data, config, fresh, tmp_path):
    """Neither their channels, which would not fit these pictures, nor their timesteps, which the record then has."""
    scheduler = DDPMScheduler(num_train_timesteps=300, prediction_type="epsilon")
    start = DiffusionModel(fresh.network, scheduler)
    odd = config.updated("model", channels=(8,) * 5, timesteps=10)
    train(tiny_data, tmp_path / "on", odd, start=start)
    record = Record(tmp_path / "on")
    assert record.timesteps == 300
    assert record["timesteps"].max() >= 10
    assert record.noise(0, tiny_data.size).shape == (6, *tiny_data.size)
    assert DiffusionModel.load(tmp_path / "on").process.prediction == "epsilon"


def test_pictures_of_another_size_are_refused(tiny_data, config, tmp_path):
    start = DiffusionModel.new(config.model, (3, 8, 8), seed=0)
    with pytest.raises(DataError, match="The training images are 1x8x8; the model takes 3x8x8"):
        train(tiny_data, tmp_path / "on", config, start=start)
    assert not list(tmp_path.iterdir())


def test_a_network_that_could_not_be_saved_is_refused_before_it_is_trained(tiny_data, config, tmp_path):
    start = DiffusionModel(torch.nn.Conv2d(1, 1, 1), DDPMScheduler(), shape=(1, 8, 8))
    with pytest.raises(ModelError, match="A Conv2d can.t be trained further; a .* or UNet2DModel can"):
        train(tiny_data, tmp_path / "on", config, start=start)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_named(tiny_data, config, fresh, tmp_path):
    broken = copy.deepcopy(fresh)
    with torch.no_grad():
        broken.network.conv_in.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="training step 0"):
        train(tiny_data, tmp_path / "on", config, start=broken)
    assert not (tmp_path / "on").exists()
