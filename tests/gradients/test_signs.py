"""Random signs of draws: a pure function of the index, and what they are for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from whence.gradients.readouts import signs


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=5), st.integers(1, 200))
def test_a_row_depends_on_its_index_alone(index, count):
    together = signs("draw", np.array(index), count)
    alone = torch.cat([signs("draw", np.array([k]), count) for k in index])
    assert together.shape == (len(index), count)
    assert torch.equal(together, alone)
    assert set(together.unique().tolist()) <= {-1.0, 1.0}


def test_fewer_signs_are_the_first_of_more():
    assert torch.equal(signs("draw", np.arange(4), 40), signs("draw", np.arange(4), 100)[:, :40])


@pytest.mark.parametrize("other", [("output", 0), ("draw", 1)])
def test_signs_of_other_streams_and_draws_are_independent(other):
    stream, index = other
    product = signs("draw", np.array([0]), 100_000) * signs(stream, np.array([index]), 100_000)
    assert abs(product.mean().item()) < 4 / 100_000**0.5


def test_a_sum_with_signs_holds_the_kernels_of_the_draws_beside_each_other():
    """Gradients of a draw share a direction that all draws have: a plain sum sees little else."""
    source, draws, count, width = torch.Generator().manual_seed(0), 16, 12, 4096
    common = torch.randn(1, 1, width, generator=source)
    parts = common + torch.randn(draws, count, width, generator=source)
    exact = torch.einsum("knp,kmp->nm", parts, parts)
    apart = (parts * signs("draw", np.arange(draws), width)[:, None]).sum(0)
    plain = parts.sum(0)
    error = (apart @ apart.T - exact).abs().max() / exact.abs().max()
    assert error < 6 * (draws / width) ** 0.5
    assert (plain @ plain.T - exact).abs().max() / exact.abs().max() > 5
