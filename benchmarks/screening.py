"""How far the quick estimate and a second codebook agree with the exact landscape.

256 digits, 16 pictures. *Screen*: differential ablation of the same ensemble, an estimate of its own distances. *Second
codebook*: the exact landscape of another ensemble on the same data, with other code words and other weights: what any
statement about the images, and not about this ensemble, can agree with. Spearman over units, and how many of the ten
units with the largest distances are among the other's ten; a random order has 0 and 10/256.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import recipes
import torch

import whence
from whence.cli.show import progress
from whence.engine import Engine
from whence.ensemble.make_landscape import landscape
from whence.ensemble.make_losses import losses
from whence.ensemble.screen import screen
from whence.statistics.ranks import agreement

UNITS, SAMPLES, PLACEBOS, QUERIES = 256, 16, 200, 100


def main() -> None:
    """Measure and print; writes screening.json beside the ensembles."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    ensembles = [recipes.law(UNITS), recipes.second(UNITS)]
    names = [f"0/{k}" for k in range(SAMPLES)]
    exact = []
    for ensemble in ensembles:
        with progress("landscapes") as report:
            whence.sample(ensemble, count=SAMPLES, engine=Engine(report=report))
            exact.append(torch.stack([one.distances for one in landscape(ensemble, names, placebos=PLACEBOS)]).numpy())
    with progress("screens") as report:
        estimate = screen(ensembles[0], names, engine=Engine(report=report))
    order = [estimate.examples.index(unit) for unit in ensembles[0].codebook.units]
    quick = estimate.scores[:, order].numpy()
    results = {
        "screen, pictures": summary(quick, exact[0]),
        "second codebook, pictures": summary(exact[1], exact[0]),
        "second codebook, losses of training images": loss_agreement(ensembles, held_out=False),
        "second codebook, losses of held-out images": loss_agreement(ensembles, held_out=True),
    }
    (recipes.RUNS / "screening.json").write_text(json.dumps(results, indent=1))
    print("| against the exact landscape | Spearman, median (range) | recall@10, mean |\n|---|---|---|")
    for name, (median, low, high, recall) in results.items():
        print(f"| {name} | {median:.2f} ({low:.2f} to {high:.2f}) | {recall:.2f} |")


def loss_agreement(ensembles: list[whence.Ensemble], held_out: bool) -> tuple[float, float, float, float]:
    """Agreement of exact losses between the two codebooks."""
    data = whence.load("digits:test") if held_out else ensembles[0].data
    found = []
    for ensemble in ensembles:
        with progress("losses") as report:
            some = losses(ensemble, data.images(range(QUERIES)), data.ids[:QUERIES], engine=Engine(report=report))
        found.append(some.scores().scores.numpy())
    return summary(found[1], found[0])


def summary(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float, float]:
    """Median, smallest and largest rank correlation over pictures, and mean recall@10."""
    found = agreement([str(q) for q in range(len(a))], a, b)
    ranks = found.correlations
    return float(np.median(ranks)), float(ranks.min()), float(ranks.max()), float(found.recalls.mean())


if __name__ == "__main__":
    main()
