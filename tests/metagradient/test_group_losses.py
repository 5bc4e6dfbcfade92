"""The losses of groups are the means of those of their queries, and so is their derivative."""

import numpy as np
import torch

from whence.metagradient.query_losses import GroupLosses
from whence.metagradient.reverse import Adjoints, KeptStates, pull_back, replay_to_end


def test_groups_are_means_of_their_queries(make_replay, tmp_path):
    replay, queries = make_replay(steps=4)
    groups = GroupLosses(queries, {"first": np.array([0]), "last": np.array([1, 2])})
    kept = KeptStates(tmp_path)
    theta = replay_to_end(replay, kept)[0].average
    assert (groups.names, len(groups)) == (("first", "last"), 2)
    for own, of_queries in (
        (groups.values(theta), queries.values(theta)),
        (groups.gradients(theta), queries.gradients(theta)),
    ):
        assert torch.allclose(own, torch.stack([of_queries[0], of_queries[1:].mean(0)]))
    derivatives = [
        pull_back(replay, kept, Adjoints.of_average(replay, one.gradients(theta))) for one in (groups, queries)
    ]
    assert torch.allclose(derivatives[0][1], derivatives[1][1:].mean(0))
