"""Do weights of training images help the worst class? 500 digits of 8x8, and models of other seeds to check.

python benchmarks/reweight.py --out runs/reweight

A small network by the recipe metasmooth is trained on 500 digits. Of 1,000 other digits, half choose the weights and
half check them, for the worst of the ten classes: with a weight for each class, within 1 and within half of that, and
with a weight for each image. On the first four seeds the setting was chosen; it is reported on four others. Intervals:
Student's t over the seeds, each a pair of models with the weights and without.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_models import digits
from figures import interval, write_figures

import whence
from whence.cli.show import progress
from whence.config import RECIPES, Config, ModelConfig
from whence.engine import Engine, one_thread

#: Settings of the training, over those of the recipe; draws of a loss; other seeds.
STEPS, BATCH, DRAWS, SEEDS = 250, 32, 32, 4
#: Which images share a weight, the bound of a weight, and further seeds, by the name of the setting in the figures.
SETTINGS = {"class": ("label", 1.0, 0), "image": ("image", 1.0, 0), "class, half": ("label", 0.5, SEEDS)}


def main() -> None:
    """Train, reweight, print and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    data, others = digits()
    config = Config(model=ModelConfig(channels=(16,), attention=0))
    config = config.updated("training", **RECIPES["metasmooth"] | {"steps": STEPS, "batch_size": BATCH})
    whence.train(data, given.out / "run", config, engine=Engine(1))
    figures: dict[str, Any] = {"images": len(data), "held out": len(others), "seeds": SEEDS, "steps": STEPS}
    first = given.out / "class"
    for name, (by, bound, further) in SETTINGS.items():
        out = given.out / name
        if first.exists() and not out.exists():  # the derivative and the models without weights are the same
            shutil.copytree(first, out, ignore=shutil.ignore_patterns("weights*", "run", "*-weighted*"))
        how: dict[str, Any] = {
            "worst_of": "label",
            "weights_by": by,
            "bound": bound,
            "draws": DRAWS,
            "seeds": SEEDS + further,
        }
        request = whence.ReweightingRequest(given.out / "run", data, others, out, **how)
        with progress(name) as report:
            found = whence.reweight(request, Engine(1, report))
        figures[name] = numbers(replace(found, plain=found.plain[:SEEDS], weighted=found.weighted[:SEEDS]))
        if further:
            own = replace(found, plain=found.plain[SEEDS:], weighted=found.weighted[SEEDS:])
            figures[f"{name}, other seeds"] = numbers(own)
            print(name, own.verdict)
        print(name, figures[name])
    write_figures("reweight", figures)


def numbers(found: whence.Reweighting) -> dict[str, Any]:
    """What was promised and measured, as shares of the loss of the worst class and of the mean loss."""
    loss = float(-found.plain.min(1).mean())
    changes = sorted(change.value / loss for change in found.of_group.values())
    return {
        "loss": loss,
        "promised": found.promised_worst / loss,
        "measured": interval(found.worst.times(1 / loss)),
        "mean promised": found.promised_mean,
        "mean measured": interval(found.mean),
        "best class": changes[-1],
        "last class": changes[0],
        "least weight": float(found.weights.min()),
        "largest weight": float(found.weights.max()),
    }


if __name__ == "__main__":
    with one_thread():
        main()
