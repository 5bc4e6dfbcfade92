"""Gradient methods, averaged over the members of an encoded ensemble, against the ensemble's exact losses.

256 digits, 16 members; the queries are held-out digits. For every query the exact increase of the loss without each
training image is ranked over the images, and so are the scores of each method. A second ensemble, with other code words
and weights, agrees with the first as far as the ranking is about the images and not about the codebook. With the
correlation r between the two, a perfect ranking of the images would reach about √r with each of them, and
√(2r / (1 + r)) with their mean.
"""

from __future__ import annotations

import argparse

import numpy as np
import recipes

import whence
from whence.attribution.methods import METHODS
from whence.cli.progress import progress
from whence.evaluation.agreement import Agreement, agreement
from whence.evaluation.bootstrap import paired_bootstrap

SIZE, QUERIES, DRAWS = 256, 100, 32
TOLD = ("d-trak", "trak", "das", "relative-if", "renormalised-if", "gradient-dot", "gradient-cosine", "pixel-cosine")


def exact(ensemble: whence.Ensemble, queries: whence.Queries) -> np.ndarray:
    """Increase of the loss without each image, [Q, N], in the order of the ensemble's data."""
    with progress(f"exact losses of {ensemble.path.name}") as report:
        scores = whence.losses(ensemble, queries.pictures, list(queries.names), report=report).scores()
    place = {name: n for n, name in enumerate(scores.examples)}
    return scores.scores.numpy()[:, [place[name] for name in ensemble.data.ids]]


def row(name: str, found: Agreement) -> str:
    """One line of the table: mean over queries with a 95% interval."""
    between = paired_bootstrap(found.correlations[:, None], lambda x: x.mean(axis=(1, 2)), seed=0)
    interval = f"({between.low:.3f} to {between.high:.3f})"
    return f"{name:28} {found.correlations.mean():6.3f}  {interval:18} {found.recalls.mean():.3f}"


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    first, second = recipes.law(SIZE), recipes.second(SIZE)
    held_out = whence.load("digits:test").select(range(QUERIES))
    queries = whence.Queries(held_out.ids, held_out.images(range(QUERIES)), None, drawn=False)
    truth, other = exact(first, queries), exact(second, queries)
    with progress("gradients") as report, progress("scores") as scored:
        found = whence.attribute(
            first,
            first.data,
            queries,
            TOLD,
            config=whence.AttributionConfig(draws=DRAWS),
            out=recipes.RUNS / f"agreement-{SIZE}",
            report=report,
            scored=scored,
        )
    print(f"{SIZE} training images, 16 members, {QUERIES} held-out queries, {DRAWS} draws")
    print(f"{'':28} Spearman, 95% interval    recall@10")
    random = np.random.default_rng(0).standard_normal(truth.shape)
    print(row("random", agreement(queries.names, truth, random)))
    print(row("second codebook (ceiling)", agreement(queries.names, truth, other)))
    for name in TOLD:
        title = METHODS[name].title if name in METHODS else name
        print(row(title, agreement(queries.names, truth, found[name].scores.numpy())))
    mean, r = (truth + other) / 2, float(agreement(queries.names, truth, other).correlations.mean())
    print(f"a perfect ranking of the images would reach about {max(r, 0) ** 0.5:.2f}")
    print("against the mean of both ensembles' exact losses, scores of the first one's members:")
    for name in TOLD:
        print(row(name, agreement(queries.names, mean, found[name].scores.numpy())))
    print(f"a perfect ranking of the images would reach about {(2 * max(r, 0) / (1 + r)) ** 0.5:.2f}")


if __name__ == "__main__":
    main()
