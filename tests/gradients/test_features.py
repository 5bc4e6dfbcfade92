import numpy as np
import pytest
import torch

from whence.config import ModelConfig
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.errors import ModelError, NotFiniteError
from whence.gradients.collector import Collector, check
from whence.gradients.compression import Compression, maps
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import Feature, Sums, add_draws, batch_shape, group
from whence.gradients.layers import coverage
from whence.gradients.readouts import READOUTS, outcome, readout
from whence.scores.jackknife import GROUPS

IDS = ("a", "b", "c", "d", "e")
SOURCE = OwnDraws(Draws(seed=1))
KINDS = (Feature("loss"), Feature("loss", normalised=True), Feature("squared-norm"))
BATCH = 16


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8, 16), groups=4, attention=0), (1, 8, 8), seed=0)


@pytest.fixture
def collector(model) -> Collector:
    cover = coverage(model.network)
    return Collector(model.network, cover, maps(cover, Compression(width=400)))


@pytest.fixture
def examples() -> Examples:
    return Examples(IDS, torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def _features(model, collector, examples, indices=range(10), start=None):
    found = start or {kind: Sums.empty(len(examples), collector.maps.width) for kind in KINDS}
    add_draws(model, collector, examples, SOURCE, indices, found, BATCH)
    return found


def _one(model, collector, examples, name, n, index):
    """The features of one example at one draw, alone in its batch."""
    x, (t, noise) = examples.x([n]), SOURCE([examples.ids[n]], np.array([index]), examples.size)

    def cotangent(output):
        return readout(name).cotangent(outcome(model, output, x, t, noise))

    x_t = model.process.noised(x, t, noise)
    features = collector(x_t, t, [cotangent])[0][0]
    return features, READOUTS["loss"].value(outcome(model, model.network(x_t, t).sample, x, t, noise))[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_features_are_sums_over_the_draws_of_each_group(model, collector, examples, kind):
    found = _features(model, collector, examples)[kind]
    sums, norms, losses = (torch.zeros_like(part) for part in (found.sums, found.norms, found.losses))
    for n, index in np.ndindex(5, 10):
        features, losses[n, index] = _one(model, collector, examples, kind.readout, n, index)
        norms[n, index] = features.norm()
        sums[group(index), n] += features / features.norm() if kind.normalised else features
    for part, expected in ((found.sums, sums), (found.norms, norms), (found.losses, losses)):
        torch.testing.assert_close(part, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_more_draws_extend_fewer_bit_for_bit(model, collector, examples, cut):
    whole = _features(model, collector, examples)
    rest = _features(model, collector, examples, range(cut, 10), _features(model, collector, examples, range(cut)))
    for kind in KINDS:
        for name in ("sums", "norms", "losses"):
            assert torch.equal(getattr(rest[kind], name), getattr(whole[kind], name))


def test_groups_are_of_equal_size_and_spread_over_the_timesteps():
    for draws in (64, 128):
        sizes = np.bincount([group(index) for index in range(draws)])
        assert len(sizes) == GROUPS
        assert len(set(sizes)) == 1
    t, _ = Draws(seed=0)(["x"] * 64, np.arange(64), (1,))
    for g in range(GROUPS):
        eighths = {int(t[index]) * 8 // 1000 for index in range(64) if group(index) == g}
        assert eighths == set(range(8))


def test_a_few_examples_fill_a_batch_with_their_draws():
    assert [batch_shape(count, 256) for count in (1, 3, 200, 256, 5000)] == [
        (1, 256),
        (4, 64),
        (256, 1),
        (256, 1),
        (256, 1),
    ]


def test_features_do_not_depend_on_the_other_examples(model, collector, examples):
    others = Examples(IDS, torch.cat([examples.values[:3], -examples.values[3:]]))
    first, second = _features(model, collector, examples), _features(model, collector, others)
    for kind in KINDS:
        assert torch.equal(first[kind].sums[:, :3], second[kind].sums[:, :3])


def test_an_image_that_is_not_finite_is_named(model, collector, examples):
    examples.values[3, 0, 2, 2] = torch.nan
    with pytest.raises(
        NotFiniteError, match=r"for 'd' \(1 of 5 examples\), in the layer 'conv_in'.*look at the images"
    ):
        _features(model, collector, examples)


def test_weights_that_are_not_finite_are_named(examples):
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
    model.network.conv_out.weight.data[0, 0, 0, 0] = torch.inf
    cover = coverage(model.network)
    with pytest.raises(NotFiniteError, match="the weights conv_out.weight are not finite"):
        _features(model, Collector(model.network, cover, maps(cover, Compression(width=400))), examples)


def test_a_gradient_that_is_zero_stays_zero(model, collector, examples):
    with torch.no_grad():
        model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
        model.network.conv_out.weight.zero_()
        model.network.conv_out.bias.zero_()
    cover = coverage(model.network)
    collector = Collector(model.network, cover, maps(cover, Compression(width=400)))
    kind = Feature("squared-norm", normalised=True)
    found = {kind: Sums.empty(5, collector.maps.width)}
    add_draws(model, collector, examples, SOURCE, range(8), found, BATCH)
    assert not found[kind].sums.any()
    assert not found[kind].norms.any()


def test_the_check_agrees_with_autograd(case):
    check(case.network, case.cover, case.x_t, case.t, torch.cos)


class _Functional(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, x, t):
        return self.first(torch.tanh(torch.nn.functional.linear(x, self.second.weight)))


def test_weights_that_are_used_without_calling_their_layer_are_found():
    network = _Functional()
    with pytest.raises(ModelError, match="'second' is not what autograd says"):
        check(network, coverage(network), torch.randn(3, 4), torch.zeros(3), torch.cos)
