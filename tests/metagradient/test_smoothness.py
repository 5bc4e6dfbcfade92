"""Metasmoothness: predicted against measured changes of losses."""

import pytest
import torch

from whence.errors import ConfigError, MismatchError
from whence.evaluation.smoothness import changes, smoothness, smoothness_cost
from whence.metagradient.make_derivative import derivative_cost


def test_small_changes_are_predicted(make_replay):
    replay, queries = make_replay(steps=12, clip_norm=0)
    measured = smoothness(replay, queries, changes(replay.weights, 4, 0.5, 1e-4))
    assert abs(measured.fit.slope.value - 1) < 1e-3
    assert measured.correlation > 0.9999


def test_a_replay_that_ends_elsewhere_than_the_run_is_refused(make_replay):
    replay, queries = make_replay(steps=3, clip_norm=0)
    before = replay.loss.model  # its weights are those of the beginning
    with pytest.raises(MismatchError, match="away from the averaged weights that it saved"):
        smoothness(replay, queries, changes(replay.weights, 3, 0.5, 1e-4), saved=before)


def test_changes_take_the_same_part_of_every_weight_of_a_subset():
    weights = torch.linspace(0.5, 1.5, 10)
    delta = changes(weights, 5, 0.3, 0.02)
    assert ((delta != 0).sum(1) == 3).all()
    torch.testing.assert_close(delta[delta != 0], (-0.02 * weights.expand(5, -1))[delta != 0])


@pytest.mark.parametrize(("subsets", "share", "change"), [(2, 0.5, 0.1), (3, 0.0, 0.1), (3, 1.0, 0.1), (3, 0.5, 0.0)])
def test_changes_of_nothing_are_refused(subsets, share, change):
    with pytest.raises(ConfigError, match="at least 3 subsets"):
        changes(torch.ones(10), subsets, share, change)


def test_costs_grow_with_queries_and_subsets(make_replay):
    replay, _ = make_replay(steps=12)
    costs = [derivative_cost(replay, count) for count in (1, 8)]
    assert min(cost.seconds for cost in costs) > 0
    assert costs[1].disk == 8 * costs[0].disk
    assert smoothness_cost(replay, 8).seconds > smoothness_cost(replay, 1).seconds > 0
