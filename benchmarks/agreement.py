"""Gradient methods, averaged over the members of an encoded ensemble, against the ensemble's exact losses.

256 digits, 16 members; the queries are held-out digits. For every query the exact increase of the loss without each
training image is ranked over the images, and so are the scores of each method. A second ensemble, with other code words
and weights, agrees with the first as far as the ranking is about the images and not about the codebook. With the
correlation r between the two, a perfect ranking of the images would reach about √r with each of them, and
√(2r / (1 + r)) with their mean.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import recipes
import torch

import whence
from whence.attribution.methods import METHODS
from whence.cli.show import progress
from whence.engine import Engine
from whence.evaluation.ground_truth import CORRELATION, GroundTruth, RankingAgreement
from whence.evaluation.prediction.ceiling import ceiling

SIZE, QUERIES, DRAWS = 256, 100, 32
TOLD = ("d-trak", "trak", "das", "relative-if", "renormalised-if", "gradient-dot", "gradient-cosine", "pixel-cosine")


def exact(ensemble: whence.Ensemble, queries: whence.Examples, seed: int) -> whence.Losses:
    """Exact losses of every ablation."""
    with progress(f"exact losses of {ensemble.path.name}") as report:
        return whence.losses(ensemble, queries.values, list(queries.ids), seed=seed, engine=Engine(report=report))


def row(name: str, figures: RankingAgreement) -> str:
    """One line of the table: means over queries with 95% intervals."""
    cells = [
        f"{one.value:.3f} ({one.interval.low:.3f} to {one.interval.high:.3f}; chance {one.chance:.3f})"
        for one in figures.statistics().values()
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    first, second = recipes.law(SIZE), recipes.second(SIZE)
    held_out = whence.load("digits:test").select(range(QUERIES))
    queries = whence.Examples(held_out.ids, held_out.images(range(QUERIES)))
    truth, other = GroundTruth.of(first, exact(first, queries, 0)), exact(second, queries, 1).scores()
    with progress("gradients") as report, progress("scores") as scored:
        found = whence.attribute(
            first,
            first.data,
            queries,
            TOLD,
            config=whence.AttributionConfig(draws=DRAWS),
            out=recipes.RUNS / f"agreement-{SIZE}",
            engine=Engine(report=report),
            scored=scored,
        )
    print(f"{SIZE} training images, 16 members, {QUERIES} held-out queries, {DRAWS} draws")
    print(f"{(truth.above.any(1)).sum()} queries have an image above placebos, {truth.above.sum()} images in all")
    random = replace(other, scores=torch.randn(other.scores.shape, generator=torch.Generator().manual_seed(0)))
    agreed = truth.compare(other)
    print(f"| | {' | '.join(agreed.statistics())} |")
    print(row("random order", truth.compare(random)))
    print(row("the second ensemble's exact losses", agreed))
    for name in TOLD:
        print(row(METHODS[name].title if name in METHODS else name, truth.compare(found[name])))
    r = agreed.statistics()[CORRELATION].value
    print(f"a perfect ranking of the images would reach about {ceiling(r, 1):.2f}")
    print("against the mean of both ensembles' exact losses, scores of the first one's members:")
    mean = replace(truth, influence=(truth.influence + truth.ranking(other)) / 2, above=np.zeros_like(truth.above))
    for name in TOLD:
        print(row(name, mean.compare(found[name])))
    print(f"a perfect ranking of the images would reach about {ceiling(r, 2):.2f}")


if __name__ == "__main__":
    main()
