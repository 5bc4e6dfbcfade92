"""Can exact losses trace a training image back to its unit? Members, units and total compute, and what was predicted.

100 training images are the queries, 100 draws each; every cell of the table costs the same number of training steps.
With 8 members there are 70 code words, so images share 35 units. The prediction uses only the effect d (how much better
members know an image that they saw, in standard deviations between members), measured on 100 other training images.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import recipes
import torch

import whence
from whence.cli.show import progress
from whence.engine import Engine
from whence.ensemble.codebook_design import CodebookDesign, predicted_power
from whence.ensemble.losses import Losses
from whence.ensemble.make_losses import losses

QUERIES, DRAWS = 100, 100


def main() -> None:
    """Measure and print; writes power.json beside the ensembles."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    rows = [measure(members, count) for count in recipes.POWER_SIZES for members in recipes.POWER_MEMBERS]
    (recipes.RUNS / "power.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))


COLUMNS = {
    "images": ("N", "{:.0f}"),
    "members": ("M", "{:.0f}"),
    "units": ("units", "{:.0f}"),
    "steps": ("steps each", "{:.0f}"),
    "effect": ("d", "{:.1f}"),
    "first": ("own unit first", "{:.0%}"),
    "predicted_first": ("predicted", "{:.0%}"),
    "rank": ("median rank", "{:.0f}"),
    "z": ("median z", "{:.1f}"),
    "p": ("median p", "{:.1g}"),
    "named": ("named at 5%", "{:.0%}"),
    "predicted_named": ("predicted", "{:.0%}"),
}


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [" | ".join(title for title, _ in COLUMNS.values()), "|".join("---" for _ in COLUMNS)]
    lines += [" | ".join(form.format(row[name]) for name, (_, form) in COLUMNS.items()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def measure(members: int, count: int) -> dict[str, Any]:
    """One cell: half of the images give the effect, the other half are traced."""
    ensemble = recipes.power(members, count)
    data, book = ensemble.data, ensemble.codebook
    chosen = np.random.default_rng(1).permutation(len(data))
    traced, pilot = chosen[:QUERIES], chosen[QUERIES : 2 * QUERIES]
    with progress(f"{members} members, {count} images") as report:
        found, other = [
            losses(
                ensemble, data.images(rows), [data.ids[row] for row in rows], draws=DRAWS, engine=Engine(report=report)
            )
            for rows in (traced, pilot)
        ]
    effect = measured_effect(ensemble, other, pilot)
    predicted = predicted_power(CodebookDesign(len(book.units), book.members, book.weight, 1), effect)
    ranks, zs, chances, named = [], [], [], []
    for row in traced:
        reading = found.influence_on(data.ids[row])
        own = reading.units.index(data.units[row][0])
        ranks.append(1 + int((reading.effects > reading.effects[own]).sum()))
        zs.append(float((reading.effects[own] - reading.placebos.mean()) / reading.placebos.std()))
        chances.append(float(reading.p_values[own]))
        named.append(reading.units[own] in reading.influential)
    return {
        "images": count,
        "members": members,
        "units": len(book.units),
        "steps": ensemble.config.training.steps,
        "effect": effect,
        "first": float(np.mean(np.array(ranks) == 1)),
        "rank": float(np.median(ranks)),
        "z": float(np.median(zs)),
        "p": float(np.median(chances)),
        "named": float(np.mean(named)),
        "predicted_first": predicted.first,
        "predicted_named": predicted.named,
    }


def measured_effect(ensemble: whence.Ensemble, found: Losses, rows: np.ndarray) -> float:
    """Median over images of (loss of members that didn't see it - of those that did) / their standard deviation."""
    alone = found.of(torch.eye(ensemble.codebook.members, dtype=torch.bool)).numpy()
    effects = []
    for q, row in enumerate(rows):
        saw = ensemble.codebook.bits[:, ensemble.codebook.columns(ensemble.data.units[row])[0]]
        spread = np.sqrt((alone[q][saw].var(ddof=1) + alone[q][~saw].var(ddof=1)) / 2)
        effects.append((alone[q][~saw].mean() - alone[q][saw].mean()) / spread)
    return float(np.median(effects))


if __name__ == "__main__":
    main()
