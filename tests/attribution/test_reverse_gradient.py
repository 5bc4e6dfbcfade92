"""Reverse gradient matching: exact cases, and what the elements and the steps must do, on a tiny run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import whence
from whence.attribution.metagradient import open_replay_of
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.reverse_gradient import (
    clusters,
    gradient_scale,
    matching_of,
    reverse_gradient,
    reverse_gradient_cost,
    undoing,
)
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.engine import Engine
from whence.errors import ConfigError
from whence.metagradient.synset import Matching, gradient_of, make_synset

TRAINING = TrainingConfig(
    steps=6, batch_size=10, save_every=6, checkpoints=2, warmup=1, learning_rate=1e-2, clip_norm=0.0, ema=0.5
)


@pytest.fixture(scope="module", autouse=True)
def _two_steps():
    """Elements are matched in two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whence.attribution.reverse_gradient.STEPS", 2)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run on 20 digits of four units."""
    data = load("digits").select(range(20)).with_fields(units=tuple((f"u{n % 4}",) for n in range(20)))
    path = tmp_path_factory.mktemp("reverse") / "run"
    whence.train(data, path, Config(model=ModelConfig(channels=(16,), attention=0), training=TRAINING))
    queries = whence.Examples(("a", "b"), load("digits").images([40, 41]))
    return AttributionRequest.of(path, data, queries, "reverse-gradient", AttributionConfig(draws=8))


@pytest.fixture(scope="module")
def opened(place):
    replay, queries = open_replay_of(place, Engine(1))
    return replay, queries, matching_of(place, replay)


def single(matching: Matching, rows, steps: int) -> Matching:
    """The matching of one cluster of some rows."""
    return Matching(matching.loss, matching.examples, {"one": rows}, matching.source, 4, matching.weights, steps)


def test_the_element_of_one_image_is_that_image(opened, tmp_path):
    """Its gradient is its own: the cosine is 1 and the length 1, without any step."""
    few = single(opened[2], np.array([7]), steps=0)
    synset = make_synset(tmp_path / "synset", few, {}, {})
    assert torch.equal(synset.elements[0], few.examples.x([7])[0])
    assert synset.cosines.item() == pytest.approx(1, abs=1e-5)
    assert synset.sizes.item() == pytest.approx(1, abs=1e-5)


def test_matching_brings_the_gradient_nearer_to_that_of_the_cluster(opened, tmp_path):
    rows = np.arange(6)
    start, end = (make_synset(tmp_path / f"{k}", single(opened[2], rows, k), {}, {}) for k in (0, 8))
    assert end.cosines.item() > start.cosines.item() + 1e-3
    assert end.medoids.item() == start.medoids.item()


def test_the_distance_is_of_the_gradients_of_autograd(opened):
    few = single(opened[2], np.arange(6), 1)
    targets = few.targets()[:, 0]
    x = few.examples.x([3])[0]
    cosines = [
        torch.nn.functional.cosine_similarity(few.loss.gradient(theta, few.visits(3, x), torch.ones(4)), target, dim=0)
        for theta, target in zip(few.weights, targets, strict=True)
    ]
    assert few.distance(3, x, targets).item() == pytest.approx(1 - sum(cosines).item() / len(cosines), abs=1e-5)


def test_targets_are_mean_gradients_of_the_examples(opened):
    few = single(opened[2], np.array([2, 5]), 1)
    theta = few.weights[-1]
    own = [few.loss.gradient(theta, few.visits(n, few.examples.x([n])[0]), torch.ones(4)) for n in (2, 5)]
    assert torch.allclose(few.targets()[-1, 0], (own[0] + own[1]) / 2, atol=1e-6)


@pytest.fixture(scope="module")
def folder_of_all(tmp_path_factory):
    """Where the elements of all clusters are, which do not depend on queries."""
    return tmp_path_factory.mktemp("synset")


def test_scores_are_the_change_of_the_loss_shared_among_the_cluster(place, opened, folder_of_all):
    replay, queries, matching = opened
    scores = reverse_gradient(place, folder_of_all, Engine(1))
    for unit, rows in matching.clusters.items():
        values = scores.scores[:, rows]
        assert torch.equal(values, values[:, :1].expand_as(values)), unit
    [folder] = folder_of_all.glob("synset-*")
    synset = make_synset(folder, matching, *_made(folder))
    theta = matching.weights[-1]
    scale = gradient_scale(replay, theta)
    direction = 5 / 20 * synset.sizes[1] * gradient_of(matching, int(synset.medoids[1]), synset.elements[1]) / scale
    rows = matching.clusters["u1"]
    assert torch.allclose(
        undoing(matching, int(synset.medoids[1]), synset.elements[1], synset.sizes[1], rows, scale), direction
    )
    change = (queries.values(theta + 1e-2 * direction) - queries.values(theta)) / 1e-2
    assert scores.by_unit().scores[:, 1].tolist() == pytest.approx(change.tolist(), rel=1e-3)


def _made(folder):
    from whence.artefacts import read_manifest

    manifest = read_manifest(folder, "synset")
    return manifest.inputs, {name: value for name, value in manifest.made.items() if name != "steps"}


def test_undoing_a_cluster_raises_its_own_loss(place, folder_of_all):
    """The images of a cluster are its queries: the step raises their mean loss more than that of the others."""
    images = whence.Examples(tuple(f"q{n}" for n in range(8)), place.data.images(range(8)))
    request = AttributionRequest.of(place.target, place.data, images, "reverse-gradient", AttributionConfig(draws=8))
    sums = reverse_gradient(request, folder_of_all, Engine(1)).by_unit().scores
    own = torch.tensor([sums[k::4, k].mean() for k in range(4)])
    assert (own > 0).all()


def test_examples_without_units_are_clustered_by_likeness(place):
    alone = replace(place, units=tuple((id,) for id in place.examples.ids))
    assert clusters(place).keys() == {"u0", "u1", "u2", "u3"}
    found = clusters(alone)
    assert len(found) == 2
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(20))


def test_the_cost_counts_elements(place):
    assert reverse_gradient_cost(place, Engine(1)).work.startswith("4 elements of 2 steps at 3 sets")


def test_what_is_refused(place, tmp_path):
    model = whence.DiffusionModel.load(place.target.runs[0])
    request = AttributionRequest.of(model, place.data, place.queries, "reverse-gradient", AttributionConfig(draws=8))
    with pytest.raises(ConfigError, match="Reverse gradient matching differentiates one recorded run"):
        reverse_gradient(request, tmp_path, Engine(1))
