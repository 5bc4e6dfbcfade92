"""Is a unit that matters named, and one that doesn't left in peace? By exact losses, at a family-wise error of 5%.

* Planted: 200 digits, each a unit, and one unit of 20 copies of an odd image, in ten ensembles (other code words, other
  weights). The query is the odd image with noise. Named, and nobody else?
* Inert: a unit that nobody trained on is a code word that nobody has. On 100 held-out digits in each of the ten
  ensembles, another such word each time: 1,000 tests, alone and as one of 201 units.
* Alike: 200 units that are nearly the same image. The queries are fresh copies; nobody in particular is behind them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import numpy as np
import recipes
import torch
from scipy.stats import binomtest

import whence
from whence.cli.show import progress
from whence.engine import Engine
from whence.ensemble.make_losses import losses

DRAWS, HELD_OUT, COPIES = 100, 100, 500


def main() -> None:
    """Measure and print; writes planted.json beside the ensembles."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    results = {"planted": [planted(seed) for seed in recipes.SEEDS]}
    inert = [inert_tests(seed) for seed in recipes.SEEDS]
    results["inert"] = {name: rate(sum(one[name] for one in inert), HELD_OUT * len(inert)) for name in inert[0]}
    results["alike"] = [alike(seed) for seed in recipes.ALIKE_SEEDS]
    (recipes.RUNS / "planted.json").write_text(json.dumps(results, indent=1))
    named = sum(row["named"] for row in results["planted"])
    print(f"planted: named in {named} of {len(results['planted'])} seeds")
    for row in results["planted"]:
        print(f"  rank {row['rank']} of 201, z {row['z']:.1f}, p of all {row['p']:.3f}, others named: {row['others']}")
    for name, (count, tests, low, high) in results["inert"].items():
        print(f"inert, {name}: named in {count} of {tests} ({count / tests:.3f}, 95% interval {low:.3f} to {high:.3f})")
    for count, tests, low, high in results["alike"]:
        print(f"alike: anybody named for {count} of {tests} ({count / tests:.3f}, {low:.3f} to {high:.3f})")


def planted(seed: int) -> dict[str, Any]:
    """The odd unit on a noisy odd image."""
    ensemble = recipes.planted(seed)
    noise = np.random.default_rng(seed).normal(0, 0.1, recipes.odd_image().shape)
    picture = torch.from_numpy(recipes.odd_image() / 127.5 - 1 + noise).clamp(-1, 1).float()[None]
    with progress(f"planted {seed}") as report:
        reading = losses(ensemble, picture, ["odd"], draws=DRAWS, engine=Engine(report=report)).influence_on("odd")
    own = reading.units.index("odd")
    return {
        "named": "odd" in reading.influential,
        "others": [unit for unit in reading.influential if unit != "odd"],
        "rank": 1 + int((reading.effects > reading.effects[own]).sum()),
        "z": float((reading.effects[own] - reading.placebos.mean()) / reading.placebos.std()),
        "p": float(reading.adjusted_p_values[own]),
    }


def inert_tests(seed: int) -> dict[str, int]:
    """How often a word that nobody has is named, on pictures that nobody trained on."""
    ensemble = recipes.planted(seed)
    data = whence.load("digits:test")
    with progress(f"inert {seed}") as report:
        found = losses(
            ensemble, data.images(range(HELD_OUT)), data.ids[:HELD_OUT], draws=DRAWS, engine=Engine(report=report)
        )
    alone = family = 0
    for k, name in enumerate(data.ids[:HELD_OUT]):
        reading = found.influence_on(name)
        inert, others = reading.placebos[k], torch.cat([reading.placebos[:k], reading.placebos[k + 1 :]])
        tested = replace(
            reading,
            units=(*reading.units, "inert"),
            effects=torch.cat([reading.effects, inert[None]]),
            placebos=others,
        )
        alone += "inert" in tested.restrict(["inert"]).influential
        family += "inert" in tested.influential
    return {"alone": alone, "as one of the family": family}


def alike(seed: int) -> tuple[int, int, float, float]:
    """How often anybody is named among units that are nearly the same."""
    ensemble = recipes.alike(seed)
    noise = np.random.default_rng(100 + seed).integers(-2, 3, (COPIES, 1, 8, 8))
    pixels = (recipes.some_digits(1).pixels[0].astype(int) + noise).clip(0, 255)
    pictures, names = torch.from_numpy(pixels / 127.5 - 1).float(), [f"fresh {k}" for k in range(COPIES)]
    with progress(f"alike {seed}") as report:
        found = losses(ensemble, pictures, names, draws=DRAWS, engine=Engine(report=report))
    return rate(sum(bool(found.influence_on(name).influential) for name in names), COPIES)


def rate(count: int, tests: int) -> tuple[int, int, float, float]:
    """A count with the 95% interval of its share."""
    interval = binomtest(count, tests).proportion_ci(method="wilson")
    return count, tests, interval.low, interval.high


if __name__ == "__main__":
    main()
