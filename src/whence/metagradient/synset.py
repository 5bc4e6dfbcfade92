"""The synset: for each cluster of training examples a synthetic element whose gradients are those of the cluster.

A step up the loss of an element, from the weights at the end of a run, undoes some of the training on its cluster:
reverse gradient matching (Ye et al. 2024, arXiv 2404.14006). On disk: ``synset.safetensors`` and the ids of each
cluster's examples in ``clusters.parquet``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.examples import Examples
from whence.diffusion.visits import Visits
from whence.engine import DEFAULT, Engine, one_thread
from whence.gradients.draw_sources import DrawSource
from whence.metagradient.query_losses import GroupLosses, QueryLosses
from whence.metagradient.weighted_loss import WeightedLoss, flat

KIND, FILE, CLUSTERS = "synset", "synset.safetensors", "clusters.parquet"
#: Learning rate of the matching, in units of the spread of the training examples.
RATE = 0.1


@dataclass(frozen=True, eq=False)
class Matching:
    """Whose gradients are matched, and where.

    Attributes:
        loss: The loss of a batch, by the network of the run.
        examples: The training examples.
        clusters: Rows of the examples of each of K clusters, by name.
        source: The draws of elements and examples: the same for all of them.
        draws: Their number, D.
        weights: The C sets of weights θ_c at which gradients are matched, [C, P]; the last is the end of the run.
        steps: Steps of the matching.
    """

    loss: WeightedLoss
    examples: Examples
    clusters: Mapping[str, np.ndarray]
    source: DrawSource
    draws: int
    weights: Sequence[Tensor] = field(repr=False)
    steps: int

    def targets(self) -> Tensor:
        """Return g_kc, the mean gradient of the loss of each cluster's examples, [C, K, P]."""
        losses = GroupLosses(QueryLosses(self.loss, self.examples, self.source, self.draws), self.clusters)
        return torch.stack([losses.gradients(theta) for theta in self.weights])

    def visits(self, medoid: int, x: Tensor) -> Visits:
        """Return the draws of an element x [...], with the conditions of a training example."""
        rows, index = np.full(self.draws, medoid), np.arange(self.draws)
        ids = [self.examples.ids[medoid]] * self.draws
        t, noise = self.source(ids, index, self.examples.size)
        conditions = self.source.conditions(self.examples.conditions_of(rows), ids, index)
        repeated = x.expand(self.draws, *x.shape)
        return Visits(rows, index, ids, repeated, t, noise, conditions, np.zeros(self.draws, bool))

    def distance(self, medoid: int, x: Tensor, targets: Tensor) -> Tensor:
        """Return 1 - mean_c cos(∇ℓ(x; θ_c), g_c) with targets g [C, P], which can be differentiated by x."""
        visits, total = self.visits(medoid, x), torch.zeros(())
        for theta, target in zip(self.weights, targets, strict=True):
            parts = self.loss.second_order(theta, visits, torch.ones(self.draws).to(theta)).parts
            total = total + torch.nn.functional.cosine_similarity(flat(parts), target, dim=0)
        return 1 - total / len(self.weights)

    def match(self, rows: np.ndarray, targets: Tensor) -> tuple[int, Tensor, float]:
        """Return the medoid of a cluster, its element x and the cosine that it reaches; targets g are [C, P].

        It starts at the medoid, the example nearest to the mean, and goes down the distance by Adam. The best x on the
        way is kept, so an element is never worse than its medoid.
        """
        values = self.examples.x(rows)
        medoid = int(rows[int((values - values.mean(0)).flatten(1).norm(dim=1).argmin())])
        x = self.examples.x([medoid])[0].to(targets).clone().requires_grad_()
        spread = float(self.examples.x(np.arange(min(len(self.examples), 256))).std())
        optimiser = torch.optim.Adam([x], lr=RATE * spread)
        best, least = x.detach().clone(), float("inf")
        for step in range(self.steps + 1):
            distance = self.distance(medoid, x, targets)
            if distance.item() < least:
                best, least = x.detach().clone(), distance.item()
            if step < self.steps:
                (x.grad,) = torch.autograd.grad(distance, x)
                optimiser.step()
        return medoid, best, 1 - least


@dataclass(frozen=True, eq=False)
class Synset:
    """Synthetic elements x_k of K clusters.

    Attributes:
        names: Names of the clusters.
        elements: The elements, float32 [K, ...].
        medoids: Rows of the training examples that they began as and whose conditions they have, int64 [K].
        sizes: Length a_k of the mean gradient of a cluster along that of its element, at the end of the run, [K].
        cosines: Mean cosine with the gradients of their clusters, over all weights that were matched, [K].
    """

    names: tuple[str, ...]
    elements: Tensor
    medoids: Tensor
    sizes: Tensor
    cosines: Tensor

    @classmethod
    def read(cls, path: Path) -> Synset:
        """Return the synset at `path`, checked by hash."""
        artefacts.read_verified(path, KIND)
        return cls(tuple(artefacts.read_table(path / CLUSTERS)["name"]), **artefacts.read_tensors(path / FILE))


def make_synset(
    path: Path, matching: Matching, inputs: Mapping[str, Any], made: Mapping[str, Any], engine: Engine = DEFAULT
) -> Synset:
    """Make the synset at `path` unless it is there, and return it; the report is called with (clusters done, all)."""

    def build(part: Path) -> dict[str, Any]:
        targets, found = matching.targets(), []
        for k, rows in enumerate(matching.clusters.values()):
            medoid, x, cosine = matching.match(rows, targets[:, k])
            own = gradient_of(matching, medoid, x)
            found.append((x, medoid, float(own @ targets[-1, k] / own.square().sum().clamp_min(1e-30)), cosine))
            engine.report(k + 1, len(matching.clusters))
        elements, medoids, sizes, cosines = zip(*found, strict=True)
        numbers = {"medoids": torch.tensor(medoids), "sizes": torch.tensor(sizes), "cosines": torch.tensor(cosines)}
        artefacts.write_tensors(part / FILE, {"elements": torch.stack(elements).float().cpu(), **numbers})
        members = [[matching.examples.ids[n] for n in rows] for rows in matching.clusters.values()]
        artefacts.write_table(part / CLUSTERS, {"name": list(matching.clusters), "examples": members})
        return {"cosine": sum(cosines) / len(cosines)}

    with one_thread():
        artefacts.ensure(path, KIND, inputs=inputs, made={**made, "steps": matching.steps}, build=build)
    return Synset.read(path)


def gradient_of(matching: Matching, medoid: int, x: Tensor) -> Tensor:
    """Return the gradient of the mean loss of an element at the end of the run, [P]."""
    theta = matching.weights[-1]
    return matching.loss.gradient(theta, matching.visits(medoid, x), torch.ones(matching.draws).to(theta))
