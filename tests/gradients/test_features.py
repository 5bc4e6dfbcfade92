import pytest
import torch
from torch import nn

from whence.config import ModelConfig
from whence.diffusion.draws import Draws
from whence.diffusion.process import DiffusionModel
from whence.errors import ConfigError, ModelError, NotFiniteError
from whence.gradients.check import check
from whence.gradients.collect import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.coverage import coverage
from whence.gradients.features import summed_features
from whence.gradients.readouts import outcome, readout

IDS = ["a", "b", "c", "d", "e"]
DRAWS = Draws(seed=1)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel.new(ModelConfig(channels=(8, 16), groups=4, attention=0), (1, 8, 8), seed=0)


@pytest.fixture
def collector(model) -> Collector:
    cover = coverage(model.network)
    return Collector(model.network, cover, maps(cover, Compression(width=400)))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _features(model, collector, images, ids=IDS, indices=range(4), **settings):
    settings = {"batch": 6, "rows": 2} | settings
    return summed_features(model, collector, images, ids, DRAWS, indices, ("loss", "squared-norm"), **settings)


def test_features_are_sums_over_the_draws_of_an_example(model, collector, images):
    found = _features(model, collector, images)
    for name, features in found.items():
        expected = torch.zeros_like(features)
        for n, k in [(n, k) for n in range(5) for k in range(4)]:
            t, noise = DRAWS([IDS[n]], [k], model.size)
            x = images[n : n + 1]

            def cotangent(o, x=x, t=t, noise=noise, name=name):
                return readout(name).cotangent(outcome(model, o, x, t, noise))

            expected[n] += collector(model.noised(x, t, noise), t, [cotangent])[0][0]
        torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_more_draws_extend_fewer_bit_for_bit(model, collector, images):
    first = _features(model, collector, images, indices=range(2))
    rest = _features(model, collector, images, indices=range(2, 6), start=first)
    for name, features in _features(model, collector, images, indices=range(6)).items():
        assert torch.equal(rest[name], features)


def test_features_do_not_depend_on_the_other_examples(model, collector, images):
    alone = _features(model, collector, images[:3], IDS[:3])
    for name, features in _features(model, collector, images).items():
        assert torch.equal(features[:3], alone[name])


@pytest.mark.parametrize("settings", [{"indices": range(3)}, {"batch": 5}, {"indices": range(0)}])
def test_numbers_that_do_not_fit_are_refused(model, collector, images, settings):
    with pytest.raises(ConfigError, match="both must be multiples"):
        _features(model, collector, images, **settings)


def test_an_image_that_is_not_finite_is_named(model, collector, images):
    images[3, 0, 2, 2] = torch.nan
    with pytest.raises(
        NotFiniteError, match=r"for 'd' \(1 of 5 examples\), in the layer 'conv_in'.*look at the images"
    ):
        _features(model, collector, images)


def test_weights_that_are_not_finite_are_named(images):
    model = DiffusionModel.new(ModelConfig(channels=(8,), groups=4, attention=0), (1, 8, 8), seed=0)
    model.network.conv_out.weight.data[0, 0, 0, 0] = torch.inf
    cover = coverage(model.network)
    with pytest.raises(NotFiniteError, match="the weights conv_out.weight are not finite"):
        _features(model, Collector(model.network, cover, maps(cover, Compression(width=400))), images)


def test_the_check_agrees_with_autograd(case):
    check(case.network, case.cover, case.x_t, case.t, torch.cos)


class _Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, t):
        return self.first(torch.tanh(nn.functional.linear(x, self.second.weight)))


def test_weights_that_are_used_without_calling_their_layer_are_found():
    network = _Functional()
    with pytest.raises(ModelError, match="'second' is not what autograd says"):
        check(network, coverage(network), torch.randn(3, 4), torch.zeros(3), torch.cos)
