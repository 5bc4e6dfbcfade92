"""Networks as people write them: what changes only how they are computed is undone, what mixes examples is refused."""

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import nn
from torch.utils.checkpoint import checkpoint as run_again

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.data import load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.errors import ModelError, WhenceWarning
from whence.gradients.check import require_separate_rows

CONFIG = AttributionConfig(draws=8, compression={"width": 256})


class Small(nn.Module):
    """A convolutional network of two layers; `between` is what lies between them."""

    def __init__(self, between=nn.Identity()):  # noqa: B008
        super().__init__()
        self.first, self.between, self.second = nn.Conv2d(1, 4, 3, padding=1), between, nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x, t):
        return self.second(self.between(self.first(x)) + t[:, None, None, None] / 1000)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def scores(network) -> torch.Tensor:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    data = load("digits").select(range(6))
    model = DiffusionModel(network, DDPMScheduler(), shape=(1, 8, 8))
    queries = Examples(("q",), data.images([3]))
    return attribute(model, data, queries, "trak", config=CONFIG)["trak"].scores


def unet(**changes) -> UNet2DModel:
    network = UNet2DModel(8, 1, 1, block_out_channels=(8, 8), norm_num_groups=4, **changes, **BLOCKS)
    return network.eval()


BLOCKS = {"down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D")}


def test_gradient_checkpointing_changes_nothing():
    network = unet()
    expected = scores(network)
    network.enable_gradient_checkpointing()
    assert torch.equal(scores(network), expected)
    assert network.is_gradient_checkpointing


def test_activations_in_place_change_nothing():
    network = Small(nn.SiLU(inplace=True))
    assert torch.equal(scores(network), scores(Small(nn.SiLU())))
    assert network.between.inplace


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "wrap", [pytest.param(torch.compile, marks=pytest.mark.slow), nn.DataParallel], ids=["compiled", "parallel"]
)
def test_wrappers_are_taken_off(wrap):
    inner = Small()
    expected = scores(inner)
    model = DiffusionModel(wrap(inner), DDPMScheduler(), shape=(1, 8, 8))
    assert model.network is inner
    assert torch.equal(scores(model.network), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_compiled_in_its_place_is_copied():
    inner = Small()
    inner.compile()
    assert DiffusionModel(inner, DDPMScheduler(), shape=(1, 8, 8)).network._compiled_call_impl is None
    assert inner._compiled_call_impl is not None


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_copied_to_float32(kind):
    inner = Small().to(kind)
    with pytest.warns(WhenceWarning, match=f"are {kind}; Whence computes with a copy of them in float32"):
        model = DiffusionModel(inner, DDPMScheduler(), shape=(1, 8, 8))
    assert inner.first.weight.dtype == kind
    assert torch.equal(model.network.first.weight, inner.first.weight.float())


def test_a_network_of_zeros_is_refused():
    network = Small()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    data = load("digits").select(range(3))
    model = DiffusionModel(network, DDPMScheduler(), shape=(1, 8, 8))
    with pytest.raises(ModelError, match="All gradients of the network are 0"):
        attribute(model, data, Examples(("q",), data.images([0])), "trak", config=AttributionConfig(draws=8))


MIXING = {
    "mean over the batch": lambda h: h - h.mean(0),
    "largest of the batch": lambda h: h / h.abs().max(),
    "batch statistics": lambda h: nn.functional.batch_norm(h, None, None, training=True),
    "rows of another": lambda h: h.roll(1, 0),
}


@pytest.mark.parametrize("mix", MIXING.values(), ids=MIXING)
def test_networks_that_mix_the_examples_of_a_batch_are_refused(mix):
    with pytest.raises(ModelError, match=r"changes with the other examples.* begins before or in 'between'"):
        scores(Small(Function(mix)))


class Timed(Small):
    """A network whose timesteps pass through a function."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x, t):
        return super().forward(x, self.change(t))


TIMES = {
    "the first timestep for all": lambda t: t[:1].expand(len(t)),
    "the last timestep for all": lambda t: t[-1:].expand(len(t)),
    "the mean timestep": lambda t: t.float().mean().expand(len(t)),
    "the place in the batch": lambda t: t + 100 * torch.arange(len(t)),
    "the size of the batch": lambda t: t + 100 * len(t),
}


@pytest.mark.parametrize("change", TIMES.values(), ids=TIMES)
def test_timesteps_of_other_examples_are_refused(change):
    with pytest.raises(ModelError, match="changes with the other examples of the batch"):
        scores(Timed(change))


@pytest.mark.parametrize("t", [[5, 5, 5, 5], [0, 0, 0], [0, 9, 9]])
def test_rows_are_compared_at_different_timesteps(t):
    network, x = Timed(TIMES["the first timestep for all"]), torch.randn(len(t), 1, 8, 8)
    with pytest.raises(ModelError, match="changes with the other examples"):
        require_separate_rows(network, x, torch.tensor(t))
    require_separate_rows(Small(), x, torch.tensor(t))


RANDOM = {
    "dropout that is always on": lambda h: nn.functional.dropout(h, 0.3, training=True),
    "noise": lambda h: h + torch.randn_like(h),
}


@pytest.mark.parametrize("function", RANDOM.values(), ids=RANDOM)
def test_random_networks_are_called_random(function):
    with pytest.raises(ModelError, match="the network is random.* begins before or in 'between'"):
        scores(Small(Function(function)))


def twice(reentrant: bool | None) -> Small:
    """A network with a layer in a checkpoint, which is computed twice; None for no checkpoint."""
    layer = nn.Conv2d(4, 4, 1)
    again = Function(lambda h: layer(h) if reentrant is None else run_again(layer, h, use_reentrant=reentrant))
    network = Small(again)
    network.inner = layer
    return network


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_layers_in_a_reentrant_checkpoint_are_refused():
    with pytest.raises(ModelError, match="under torch.no_grad, or in a checkpoint that is computed twice"):
        scores(twice(True))


def test_layers_in_another_checkpoint_are_differentiated_once():
    assert torch.equal(scores(twice(False)), scores(twice(None)))


def test_a_layer_without_gradient_is_named():
    layer = nn.Conv2d(4, 4, 1)

    def function(h):
        with torch.no_grad():
            return layer(h)

    network = Small(Function(function))
    network.inner = layer
    with pytest.raises(ModelError, match="calls the layer 'inner' under torch.no_grad"):
        scores(network)


def test_changes_in_place_are_explained():
    with pytest.raises(ModelError, match="changes a tensor in place that its gradient needs"):
        scores(Small(Function(lambda h: h.exp().mul_(2))))
