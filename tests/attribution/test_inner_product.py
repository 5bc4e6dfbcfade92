"""Every method that says that its score is an inner product has that score as the inner product of two vectors."""

import pytest
import torch

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import BlockKernel
from whence.attribution.methods import METHODS
from whence.errors import ConfigError
from whence.kernel.algebra import weighted
from whence.kernel.kernel import Kernel
from whence.kernel.moments import Moments
from whence.kernel.whitening import Whitening

WIDTHS = (3, 5, 2)
METHODS_OF_PRODUCTS = {name: method for name, method in METHODS.items() if method.inner is not None}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(examples, weights=None):
    """Random features, one of them 0, of columns whose sizes differ, as many examples as given."""
    features = normal(examples, 10) * torch.logspace(0, -2, 10)
    features[0] = 0
    return FeaturePair(features, normal(4, 10, seed=1), normal(examples, seed=2).abs(), WIDTHS, weights=weights)


def moments_of(features, inner, blocks):
    widths = features.widths if inner.layers else (sum(features.widths),)
    moments = tuple(map(Moments.zeros, widths))
    for rows in torch.arange(len(features.examples)).split(blocks):
        weights = None if features.weights is None else features.weights[rows]
        for one, part in zip(moments, weighted(features.examples[rows], weights).split(widths, 1), strict=True):
            one.add(part)
    return moments


def vectors_of(features, inner, whitening, damping, queries):
    own = features.queries if queries else features.examples
    vectors = whitening.vectors(own)
    if queries and not inner.of_queries:
        return vectors
    return inner.scaled(vectors, own, whitening.divisors, damping, None if queries else features.losses)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("examples", [7, 40])
@pytest.mark.parametrize("name", METHODS_OF_PRODUCTS)
def test_the_inner_product_is_the_score(name, examples, weighted):
    method, features = METHODS[name], pair(examples, torch.linspace(0.5, 2, examples) if weighted else None)
    inner = method.inner
    whitening = Whitening.of(moments_of(features, inner, 6), method.damping if method.damped else None)
    examples, queries = (vectors_of(features, inner, whitening, method.damping, asked) for asked in (False, True))
    expected = method.function(features, method.damping)
    found = inner.scores(queries @ examples.T)
    assert (found - expected).abs().max() < (
        1e-6 if weighted else 1e-9
    ) * expected.abs().max()  # the kernel rounds weights


def test_methods_that_are_no_inner_products_say_so():
    none = {name for name, method in METHODS.items() if method.inner is None}
    assert none == {"journey-trak", "journey-trak-steps", "das-squared", "ek-fac", "k-fac"}


@pytest.mark.parametrize("squared", [False, True])
def test_weights_of_scores_are_linear_in_them(squared):
    inner = METHODS["tangent-squared" if squared else "trak"].inner
    vectors, query, weights = normal(5, 3).double(), normal(3, seed=1).double(), torch.tensor([1.0, 2.0, 0.0, 0.5, 3.0])
    scaled = inner.scaled(vectors, vectors, torch.ones(3), 1.0, weights=weights)
    assert torch.allclose(inner.scores(scaled @ query), weights * inner.scores(vectors @ query))


def test_the_strengths_are_those_of_the_kernel_or_of_the_units():
    features = pair(40)
    moments = moments_of(features, METHODS["tangent"].inner, 7)
    kernels = (Kernel(part, part) for part in torch.split(features.examples, WIDTHS, 1))
    assert [one.strength(0.3) for one in moments] == pytest.approx([kernel.absolute(0.3) for kernel in kernels])
    whitening = Whitening.of(moments, 2.0, (1.0, 2.0, 3.0))
    least = [(layer.divisors - layer.eigenvalues).mean().item() for layer in whitening.layers]
    assert least == pytest.approx([2.0, 4.0, 6.0])


def test_a_whitening_is_written_and_read():
    features = pair(20)
    whitening = Whitening.of(moments_of(features, METHODS["tangent"].inner, 7), 1.0)
    again = Whitening.of_tensors(whitening.tensors)
    assert torch.equal(again.vectors(features.queries), whitening.vectors(features.queries))
    variances = whitening.vectors(features.examples).square().sum(0)
    assert (variances.diff() <= 1e-12).all()


def test_a_damping_below_rounding_errors_is_refused():
    with pytest.raises(ConfigError, match="rounding errors"):
        Whitening.of(moments_of(pair(20), METHODS["trak"].inner, 7), 1e-300)
    assert BlockKernel(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([1.0, 3.0])).leverage(1.0).tolist() == [2.0]
