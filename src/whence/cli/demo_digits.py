"""`whence demo --digits`: an ensemble of whole networks on 1,500 digits, each of which is a unit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import whence
from whence.cli.show import duration, say, show_ablation, show_cost, show_work

#: Members of the ensemble, the pictures that it draws, and those that it draws again.
MEMBERS, COUNT, SHOWN = 16, 16, 8
#: Half the default batch size: training takes minutes, and the digits are a little less clear.
BATCH_SIZE = 64


def show_digits(out: Path, workers: int | None, plan: bool) -> None:
    """Train, draw, leave single training images out, and write a report; or with `plan` show the cost alone."""
    from whence.diffusion.training import training_cost

    digits, config = whence.load("digits"), whence.Config().updated("training", batch_size=BATCH_SIZE)
    if plan:
        return show_cost(training_cost(digits, config, members=MEMBERS, engine=whence.Engine(workers)), out)
    start = time.monotonic()
    say(f"1. {len(digits):,} real handwritten digits, 8x8 pixels; each is a unit that can be left out.")
    say(f"2. Training {MEMBERS} small diffusion models. Each sees the half of the digits that its code words allow.")
    with show_work("training", workers) as engine:
        ensemble = whence.train_ensemble(digits, out, members=MEMBERS, config=config, engine=engine)
    say(f"3. Drawing pictures 0/0 to 0/{COUNT - 1} from the mean prediction of all {MEMBERS}.")
    with show_work("drawing", workers) as engine:
        samples = whence.sample(ensemble, count=COUNT, seed=0, engine=engine)
    ablations = _ablate(ensemble, samples, digits, workers)
    unit = ablations[0].units
    say(f"5. The opt-out: new pictures by the members that never saw digit {', '.join(unit)}.")
    with show_work("drawing", workers) as engine:
        whence.sample(ensemble, count=COUNT, seed=1, without=unit, engine=engine)
    _write_figure(out / "demo.png", digits, ablations)
    page = whence.write_report(ensemble)
    farther = sum(ablation.distance > (ablation.placebo_distance or 0) for ablation in ablations)
    say(f"\nDone in {duration(time.monotonic() - start)}. Open {page.resolve()}")
    say(f"It shows {COUNT} drawn digits. {SHOWN} of them are also drawn without their most similar training image,")
    say("beside that image and a placebo. The counterfactual moved farther than its placebo in")
    say(f"{farther} of {SHOWN}. Where it did not, averaging fewer members explains the change as well, and likeness")
    say("alone is no reason to credit an image. One placebo each is a comparison, not a test.")


def _ablate(
    ensemble: whence.Ensemble, samples: whence.Samples, digits: whence.Dataset, workers: int | None
) -> Sequence[whence.Ablation]:
    """Draw the first pictures again, each without the training image most like it."""
    from whence.ensemble.ablation import nearest_units

    scores = whence.pixel(samples.pictures, samples.names, digits)
    inputs = {"samples": samples.manifest.fingerprint, "data": digits.fingerprint}
    scores.write(ensemble.path / "scores" / "pixel", inputs)
    say("4. What would have been drawn without the training digit that looks most alike? The same noise, drawn again")
    say("   by the members that never saw it, and beside it a placebo: as many members, but no digit left out.")
    with show_work("drawing again", workers) as engine:
        ablations = whence.ablate_each(ensemble, nearest_units(ensemble, samples.names[:SHOWN], 1), engine=engine)
    for ablation in ablations:
        show_ablation(ablation)
    return ablations


def _write_figure(path: Path, digits: whence.Dataset, ablations: Sequence[whence.Ablation]) -> None:
    """A row for each ablation: picture, training image, counterfactual, difference, placebo, difference."""
    import numpy as np

    from whence import images

    rows = []
    for ablation in ablations:
        factual, closest = ablation.pictures["factual"], digits.images(digits.examples_of(ablation.units[0]))[0]
        rows += [images.to_pixels(factual), images.to_pixels(closest)]
        for name in ("counterfactual", "placebo"):
            rows += [images.to_pixels(ablation.pictures[name]), images.difference(factual, ablation.pictures[name])]
    images.write_png(path, images.sheet(np.stack(rows), columns=6, side=64))
