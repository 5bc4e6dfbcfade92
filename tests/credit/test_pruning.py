"""Pruned networks against networks in which the dropped channels are zero, and the artefact."""

import hashlib
import math

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import nn

from whence import artefacts
from whence.config import ModelConfig
from whence.credit.coupling import kept_channels
from whence.credit.pruning import KIND, prune, pruned
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import train
from whence.errors import ArtefactError, ConfigError, MismatchError, ModelError


def build(channels, groups, size=8, colours=1, head=None, layers=1, **settings):
    """A network with attention in every level but the first where `head` is given."""
    down = ["DownBlock2D"] + ["AttnDownBlock2D" if head else "DownBlock2D"] * (len(channels) - 1)
    up = ["AttnUpBlock2D" if head else "UpBlock2D"] * (len(channels) - 1) + ["UpBlock2D"]
    base = {
        "down_block_types": down,
        "up_block_types": up,
        "add_attention": bool(head),
        "attention_head_dim": head or 8,
    }
    torch.manual_seed(len(channels) + groups)
    return UNet2DModel(
        size,
        colours,
        colours,
        **(base | settings),
        block_out_channels=channels,
        norm_num_groups=groups,
        layers_per_block=layers,
    ).eval()


def of(network, timesteps=1000):
    return DiffusionModel(network, DDPMScheduler(timesteps))


def inputs(model, count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *model.size, generator=generator), torch.tensor([0, 500, 999])[:count]


@torch.no_grad()
def differ(one, other):
    """Largest difference of the outputs of two models."""
    return (one.output(*inputs(one)) - other.output(*inputs(one))).abs().max().item()


@torch.no_grad()
def use_every_second_frequency(network):
    """What the sinusoids of half the width have: cos and sin of the frequencies 0, 2, 4, ..."""
    half = network.time_proj.num_channels // 2
    network.time_embedding.linear_1.weight[:, [k for k in range(2 * half) if k % half % 2]] = 0


@torch.no_grad()
def plant(small, wide, head):
    """Put the weights of `small` (16 channels, 4 groups) into zeros of the shape of `wide` (32 channels, 8 groups)."""
    pairs = [*range(8, 16), *range(24, 32)]
    rows = {32: pairs, 64: pairs + [32 + k for k in pairs]}
    in_attention = pairs if head == 32 else range(16, 32)
    frequencies = [*range(0, 16, 2), *range(16, 32, 2)]
    for name, weight in small.named_parameters():
        place = wide.get_parameter(name)
        where = [rows.get(width, range(width)) for width in place.shape]
        if any(part in name for part in ("to_q", "to_k", "to_v")):
            where[0] = in_attention
        elif "to_out.0.weight" in name:
            where[1] = in_attention
        elif name == "time_embedding.linear_1.weight":
            where[1] = frequencies
        place.zero_()
        scale = math.sqrt(head / 16) if "to_q" in name else 1
        place[torch.meshgrid(*map(torch.tensor, where), indexing="ij")] = weight * scale


@pytest.mark.parametrize("head", [None, 16, 32])
def test_a_network_planted_in_a_wider_one_of_zeros_is_found_again(head):
    settings = {"head": head and 16, "time_embedding_dim": 128}
    small = build((16, 16), 4, **settings)
    wide = build((32, 32), 8, **(settings | {"head": head}))
    plant(small, wide, head)
    found = pruned(of(wide), 0.5)
    assert differ(of(small), of(wide)) < 1e-5
    assert differ(of(small), found) < 1e-5
    for name, weight in small.state_dict().items():
        if "time_embedding.linear_1" not in name:
            torch.testing.assert_close(found.network.get_parameter(name), weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("channels", "head", "layers", "size", "colours"),
    [((32,), None, 1, 8, 1), ((32, 32), None, 2, 8, 1), ((32, 32), 8, 1, 8, 1), ((32, 32, 32), 16, 1, 16, 3)],
)
def test_is_the_network_whose_dropped_channels_are_zero_where_levels_are_as_wide(channels, head, layers, size, colours):
    wide = build(channels, 8, size, colours, head, layers)
    use_every_second_frequency(wide)
    small = pruned(of(wide), 0.5)
    kept = kept_channels(wide, small.network)
    with torch.no_grad():
        for (name, dim), index in kept.items():
            if dim == 0:
                zeroed = torch.ones(wide.get_parameter(name).shape[0], dtype=torch.bool)
                zeroed[index] = False
                wide.get_parameter(name)[zeroed] = 0
    assert len({tuple(index.tolist()) for (_, dim), index in kept.items() if dim == 0}) > 1
    assert differ(of(wide), small) < 1e-5


def test_importance_is_the_norm_of_all_weights_along_a_group():
    wide = build((16, 64), 4)
    resnet = wide.down_blocks[1].resnets[0]
    small = pruned(of(wide), 0.5).network
    energy = torch.zeros(64, dtype=torch.float64)
    for k in range(64):
        read = [resnet.conv2.weight[:, k]]
        written = [layer.weight[k] for layer in (resnet.conv1, resnet.time_emb_proj, resnet.norm2)]
        written += [layer.bias[k] for layer in (resnet.conv1, resnet.time_emb_proj, resnet.norm2)]
        energy[k] = sum(weight.detach().double().square().sum() for weight in read + written)
    best = 32 * int(energy[32:].sum() > energy[:32].sum())
    kept = kept_channels(wide, small)["down_blocks.1.resnets.0.conv2.weight", 1]
    assert kept.tolist() == list(range(best, best + 32))


@pytest.mark.parametrize(
    ("groups", "share", "kept"),
    [
        (8, 0, 8),
        (8, 0.01, 6),
        (8, 0.3, 6),
        (8, 0.5, 4),
        (8, 0.9, 2),
        (8, 0.999, 2),
        (3, 0.3, 2),
        (3, 0.9, 1),
        (2, 0.2, 1),
    ],
)
def test_whole_pairs_of_groups_go_and_at_least_one_stays(groups, share, kept):
    model = of(build((2 * groups, 4 * groups), groups))
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    small = pruned(model, share)
    config = small.network.config
    assert config["norm_num_groups"] == kept
    assert tuple(config["block_out_channels"]) == (2 * kept, 4 * kept)
    assert small.output(*inputs(small)).isfinite().all()
    assert all(torch.equal(weight, before[name]) for name, weight in model.network.state_dict().items())
    if share == 0:
        assert all(torch.equal(weight, before[name]) for name, weight in small.network.state_dict().items())


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((1, 8, 8), {}),
        ((1, 8, 8), {"channels": (16, 64), "attention": 8, "layers": 2}),
        ((3, 16, 16), {"channels": (16, 32, 32), "attention": 8}),
        ((3, 16, 16), {"channels": (16, 48), "groups": 4}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_prunes_what_this_library_trains(size, settings, share):
    model = DiffusionModel.new(ModelConfig(**settings), size, seed=0)
    small = pruned(model, share)
    x, t = inputs(small)
    loss = small.loss(x, t, torch.ones_like(x))
    assert loss.isfinite().all()
    loss.sum().backward()
    for weights in (small.network.parameters(), model.network.parameters()):
        assert all(weight.requires_grad for weight in weights)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in small.network.parameters())
    assert sum(weight.numel() for weight in small.network.parameters()) < 0.75 * sum(
        weight.numel() for weight in model.network.parameters()
    )


def test_the_time_embedding_is_fitted_better_than_cut():
    wide = build((32, 32), 8)
    small, t = pruned(of(wide), 0.25).network, torch.arange(1000)
    with torch.no_grad():
        layer, fitted = wide.time_embedding.linear_1, small.time_embedding.linear_1
        wanted = layer(wide.time_proj(t))
        error = (fitted(small.time_proj(t)) - wanted).square().mean()
        cut = (small.time_proj(t) @ layer.weight[:, :24].T + layer.bias - wanted).square().mean()
        shifted = (fitted(small.time_proj(t)) + 0.01 - wanted).square().mean()
    assert error < 0.5 * cut
    assert error < shifted


@pytest.mark.parametrize(
    ("network", "share", "error", "message"),
    [
        (lambda: build((8,), 1), 0.3, ModelError, "norm_num_groups 1"),
        (lambda: nn.Conv2d(1, 1, 1), 0.3, ModelError, "A Conv2d can't be pruned"),
        (lambda: build((8,), 4, resnet_time_scale_shift="scale_shift"), 0.3, ModelError, "scale_shift"),
        (lambda: build((8,), 4, time_embedding_type="fourier"), 0.3, ModelError, "time_embedding_type 'fourier'"),
        (lambda: build((8, 8), 4, downsample_type="resnet"), 0.3, ModelError, "downsample_type 'resnet'"),
        (lambda: build((8,), 4, num_class_embeds=3), 0.3, ModelError, "num_class_embeds 3"),
        (lambda: build((8,), 4, down_block_types=["ResnetDownsampleBlock2D"]), 0.3, ModelError, "down_block_types"),
        (lambda: build((8,), 4), 1, ConfigError, "is 1; expected"),
        (lambda: build((8,), 4), -0.1, ConfigError, "is -0.1; expected"),
        (lambda: build((8,), 4), float("nan"), ConfigError, "is nan; expected"),
    ],
)
def test_refuses_what_it_cannot_prune(network, share, error, message):
    with pytest.raises(error, match=message):
        pruned(DiffusionModel(network(), DDPMScheduler(), (1, 8, 8)), share)


@pytest.fixture
def folder(tmp_path):
    DiffusionModel.new(ModelConfig(channels=(8, 16), attention=0), (1, 8, 8), seed=0).save(tmp_path / "model")
    return tmp_path / "model"


def hashes(path):
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.rglob("*") if file.is_file()}


def test_the_artefact_is_a_diffusers_folder_that_trains_on(folder, tmp_path, tiny_data, tiny_config):
    before, out = hashes(folder), tmp_path / "small"
    assert prune(folder, 0.5, out) == out
    assert hashes(folder) == before
    found = artefacts.read_verified(out, KIND)
    assert found.made == {"share": 0.5}
    assert found.facts["before"]["channels"] == [8, 16]
    assert found.facts["after"]["channels"] == [4, 8]
    assert found.facts["after"]["parameters"] < found.facts["before"]["parameters"]
    expected, small = pruned(DiffusionModel.load(folder), 0.5), DiffusionModel.load(out)
    assert differ(expected, small) == 0
    assert DDPMPipeline.from_pretrained(out).unet.config.norm_num_groups == 4
    train(tiny_data, tmp_path / "run", tiny_config, start=small)
    tuned = DiffusionModel.load(tmp_path / "run")
    assert tuned.network.config["block_out_channels"] == [4, 8]
    assert 0 < differ(tuned, expected) < 10


def test_does_nothing_twice_and_refuses_another_request(folder, tmp_path):
    out = prune(folder, 0.5, tmp_path / "small")
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert prune(folder, 0.5, out) == out
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == times
    with pytest.raises(MismatchError, match="share"):
        prune(folder, 0.25, out)
    with pytest.raises(ArtefactError):
        prune(tmp_path / "nothing", 0.5, tmp_path / "other")
    with pytest.raises(ConfigError):
        prune(folder, 2, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "other.part").exists()
