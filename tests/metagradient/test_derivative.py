"""The derivative of a run against central differences, and reverse mode against forward mode."""

import copy

import pytest
import torch
from torch.nn.utils import vector_to_parameters

from whence.errors import NotFiniteError
from whence.metagradient.forward import push
from whence.metagradient.make_derivative import make_derivative
from whence.metagradient.query_losses import QueryLosses
from whence.metagradient.reverse import Adjoints, KeptStates, pull_back, replay_to_end

STEPS, H = 50, 1e-7
CLIPPED, UNCLIPPED = {"clip_norm": 1.2}, {"clip_norm": 0}


def differences(replay, queries, directions):
    """Central differences of the losses along changes of the example weights, [K, Q]."""

    def losses(weights):
        return queries.values(replay.end(weights).average)

    w = replay.weights
    return torch.stack([losses(w + H * d) - losses(w - H * d) for d in directions]) / (2 * H)


def reverse(replay, queries, folder):
    kept = KeptStates(folder)
    end, clipped = replay_to_end(replay, kept)
    adjoints = Adjoints.of_average(replay, queries.gradients(end.average))
    return pull_back(replay, kept, adjoints), clipped


def random_directions(replay, count):
    return torch.randn(count, len(replay.weights), generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("clipping", [CLIPPED, UNCLIPPED], ids=["clipped", "unclipped"])
def test_the_derivative_agrees_with_central_differences(make_replay, tmp_path, clipping, count):
    replay, queries = make_replay(steps=STEPS, **clipping)
    derivative, clipped = reverse(replay, queries, tmp_path)
    assert clipped in (range(STEPS // 4, STEPS) if clipping is CLIPPED else [0]), clipped
    directions = random_directions(replay, count)
    measured, predicted = differences(replay, queries, directions), directions @ derivative.T
    assert ((measured - predicted).norm(dim=1) <= 1e-4 * measured.norm(dim=1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("clipping", [CLIPPED, UNCLIPPED], ids=["clipped", "unclipped"])
def test_both_modes_agree_on_a_network_with_attention(make_replay, tmp_path, clipping):
    replay, queries = make_replay(unet=True, steps=5, **clipping)
    derivative, _ = reverse(replay, queries, tmp_path)
    directions = random_directions(replay, 2)
    average, tangents = push(replay, directions)
    predicted = directions @ derivative.T
    torch.testing.assert_close(tangents @ queries.gradients(average).T, predicted, rtol=1e-8, atol=1e-12)
    measured = differences(replay, queries, directions[:1])
    torch.testing.assert_close(measured, predicted[:1], rtol=1e-4, atol=1e-8)


def test_the_same_factor_on_all_weights_changes_nothing_without_clipping(make_replay, tmp_path):
    """Adam divides a gradient by its own size, so that Σ_n w_n ∂L/∂w_n = 0 but for ε."""
    replay, queries = make_replay(steps=12, **UNCLIPPED)
    derivative, _ = reverse(replay, queries, tmp_path)
    terms = derivative * replay.weights
    assert (terms.sum(1).abs() <= 1e-4 * terms.abs().sum(1)).all()


def test_a_derivative_that_is_not_finite_is_refused_and_names_its_query(make_replay, tmp_path):
    replay, queries = make_replay(steps=4, warmup=1)

    class Overflow(QueryLosses):
        def gradients(self, theta):
            return super().gradients(theta) * torch.tensor([1.0, float("inf"), 1.0]).to(theta)[:, None]

    hopeless = Overflow(queries.loss, queries.queries, queries.source, queries.draws)
    saved = copy.deepcopy(replay.loss.model)
    vector_to_parameters(replay.end().average, saved.network.parameters())
    with pytest.raises(NotFiniteError, match="derivative of the loss of 'b' is not finite"):
        make_derivative(tmp_path / "made", replay, hopeless, saved, inputs={}, made={})
    assert not (tmp_path / "made").exists()
