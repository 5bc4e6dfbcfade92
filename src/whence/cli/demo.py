"""The whole story on real handwritten digits, told while it happens."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from whence import images
from whence.cli.progress import duration, progress
from whence.cli.show import say, show_ablation
from whence.config import Config
from whence.cost import Cost
from whence.data import Dataset, load
from whence.diffusion.training_cost import training_cost
from whence.ensemble import Ablation, Ensemble, ablate_each, sample, train_ensemble
from whence.ensemble.suspects import nearest_units
from whence.report import write_report
from whence.similarity.pixel import pixel

MEMBERS, COUNT, SHOWN = 16, 16, 8
#: Half the default batch: ready in minutes, at some cost in how clear the digits are.
CONFIG = Config().updated("training", batch_size=64)


def demo_cost(workers: int | None) -> Cost:
    """Cost of the training, which is nearly all."""
    return training_cost(load("digits"), CONFIG, members=MEMBERS, workers=workers)


def run_demo(out: Path, workers: int | None) -> None:
    """Train an encoded ensemble on scikit-learn's digits, draw, leave training images out, write the report."""
    start = time.monotonic()
    digits = load("digits")
    say(f"1. {len(digits):,} real handwritten digits, 8x8 pixels; each is a unit that can be left out.")
    say(f"2. Training {MEMBERS} small diffusion models. Each sees the half of the digits that its code words allow.")
    with progress("training") as report:
        ensemble = train_ensemble(digits, out, members=MEMBERS, config=CONFIG, workers=workers, report=report)
    say(f"3. Drawing pictures 0/0 to 0/{COUNT - 1} from the mean prediction of all {MEMBERS}.")
    with progress("drawing") as report:
        samples = sample(ensemble, count=COUNT, seed=0, workers=workers, report=report)
    scores = pixel(samples.pictures, samples.names, digits)
    scores.write(out / "scores" / "pixel", {"samples": samples.manifest.fingerprint, "data": digits.fingerprint})
    say("4. What would have been drawn without the training digit that looks most alike? The same noise, drawn again")
    say("   by the members that never saw it, and beside it a placebo: as many members, but no digit left out.")
    requests = nearest_units(ensemble, samples.names[:SHOWN], 1)
    with progress("drawing again") as report:
        found = ablate_each(ensemble, requests, workers=workers, report=report)
    for ablation in found:
        show_ablation(ablation)
    _opt_out(ensemble, found[0].units, workers)
    _figure(out / "demo.png", digits, found)
    page = write_report(ensemble)
    further = sum(one.distance > (one.placebo_distance or 0) for one in found)
    say(f"\nDone in {duration(time.monotonic() - start)}. Open {page.resolve()}")
    say(f"It shows {COUNT} drawn digits and, for {SHOWN} of them, the digit drawn without its most similar training")
    say("image, beside that image and a placebo. The counterfactual moved further than its placebo in")
    say(f"{further} of {SHOWN}. Where it didn't, averaging fewer members explains the change as well, and likeness")
    say("alone is no reason to credit an image. One placebo each is a comparison, not a test.")


def _figure(path: Path, digits: Dataset, found: list[Ablation]) -> None:
    """A row for each ablation: picture, training image, counterfactual, difference, placebo, difference."""
    rows = []
    for ablation in found:
        factual, closest = ablation.pictures["factual"], digits.images(digits.examples_of(ablation.units[0]))[0]
        rows += [images.to_pixels(factual), images.to_pixels(closest)]
        for name in ("counterfactual", "placebo"):
            rows += [images.to_pixels(ablation.pictures[name]), images.difference(factual, ablation.pictures[name])]
    images.write_png(path, images.sheet(np.stack(rows), columns=6, side=64))


def _opt_out(ensemble: Ensemble, units: list[str], workers: int | None) -> None:
    """New pictures without a unit."""
    say(f"5. The opt-out: new pictures by the members that never saw digit {', '.join(units)}.")
    with progress("drawing") as report:
        sample(ensemble, count=COUNT, seed=1, without=units, workers=workers, report=report)
