"""A whole run of the digits in float32, by the recipe metasmooth."""

import pytest
import torch

import whence
from whence.attribution.metagradient import open_replay_of
from whence.attribution.request import AttributionRequest
from whence.config import RECIPES
from whence.evaluation.smoothness import changes, smoothness


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_changes_of_two_percent_are_predicted(tmp_path):
    digits, queries = whence.load("digits"), whence.load("digits:test").select(range(8))
    whence.train(digits, tmp_path / "run", whence.Config().updated("training", **RECIPES["metasmooth"]))
    request = AttributionRequest.of(
        tmp_path / "run", digits, queries, "metagradient", whence.AttributionConfig(draws=64)
    )
    replay, losses = open_replay_of(request, whence.Engine())
    torch.set_num_threads(1)
    measured = smoothness(replay, losses, changes(replay.weights, 3, 0.5, 0.02))
    assert 0.8 < measured.fit.slope.value < 1.25
    assert measured.correlation > 0.9
