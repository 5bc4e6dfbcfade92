"""The command `whence demo`: the main steps on real handwritten digits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.options import PLAN, WORKERS
from whence.cli.show import say, show_ablation, show_cost

if TYPE_CHECKING:
    from whence.data import Dataset
    from whence.ensemble import Ablation, Ensemble, Samples

MEMBERS, COUNT, SHOWN = 16, 16, 8
#: Half the default batch size: training takes minutes, and the digits are a little less clear.
BATCH_SIZE = 64


def demo(
    out: Annotated[Path, typer.Option(help="The folder for everything.")] = Path("runs/demo"),
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Show the main steps on real handwritten digits: train, draw, leave training images out, write a report."""
    from whence.config import Config
    from whence.data import load
    from whence.diffusion.training_cost import training_cost
    from whence.engine import Engine

    digits, config = load("digits"), Config().updated("training", batch_size=BATCH_SIZE)
    if plan:
        show_cost(training_cost(digits, config, members=MEMBERS, engine=Engine(workers)), out)
        return
    from whence.cli.progress import duration, progress
    from whence.ensemble import sample, train_ensemble
    from whence.report import write_report

    start = time.monotonic()
    say(f"1. {len(digits):,} real handwritten digits, 8x8 pixels; each is a unit that can be left out.")
    say(f"2. Training {MEMBERS} small diffusion models. Each sees the half of the digits that its code words allow.")
    with progress("training") as report:
        ensemble = train_ensemble(digits, out, members=MEMBERS, config=config, engine=Engine(workers, report))
    say(f"3. Drawing pictures 0/0 to 0/{COUNT - 1} from the mean prediction of all {MEMBERS}.")
    with progress("drawing") as report:
        samples = sample(ensemble, count=COUNT, seed=0, engine=Engine(workers, report))
    ablations = _ablate(ensemble, samples, digits, workers)
    unit = ablations[0].units
    say(f"5. The opt-out: new pictures by the members that never saw digit {', '.join(unit)}.")
    with progress("drawing") as report:
        sample(ensemble, count=COUNT, seed=1, without=unit, engine=Engine(workers, report))
    _write_figure(out / "demo.png", digits, ablations)
    page = write_report(ensemble)
    farther = sum(ablation.distance > (ablation.placebo_distance or 0) for ablation in ablations)
    say(f"\nDone in {duration(time.monotonic() - start)}. Open {page.resolve()}")
    say(f"It shows {COUNT} drawn digits. {SHOWN} of them are also drawn without their most similar training image,")
    say("beside that image and a placebo. The counterfactual moved farther than its placebo in")
    say(f"{farther} of {SHOWN}. Where it did not, averaging fewer members explains the change as well, and likeness")
    say("alone is no reason to credit an image. One placebo each is a comparison, not a test.")


def _ablate(ensemble: Ensemble, samples: Samples, digits: Dataset, workers: int | None) -> Sequence[Ablation]:
    """Draw the first pictures again, each without the training image most like it."""
    from whence.cli.progress import progress
    from whence.engine import Engine
    from whence.ensemble import ablate_each
    from whence.ensemble.make_ablation import nearest_units
    from whence.similarity.pixel import pixel

    scores = pixel(samples.pictures, samples.names, digits)
    inputs = {"samples": samples.manifest.fingerprint, "data": digits.fingerprint}
    scores.write(ensemble.path / "scores" / "pixel", inputs)
    say("4. What would have been drawn without the training digit that looks most alike? The same noise, drawn again")
    say("   by the members that never saw it, and beside it a placebo: as many members, but no digit left out.")
    with progress("drawing again") as report:
        ablations = ablate_each(
            ensemble, nearest_units(ensemble, samples.names[:SHOWN], 1), engine=Engine(workers, report)
        )
    for ablation in ablations:
        show_ablation(ablation)
    return ablations


def _write_figure(path: Path, digits: Dataset, ablations: Sequence[Ablation]) -> None:
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
