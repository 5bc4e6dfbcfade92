"""The commands that write a page: `whence report`, `whence leaderboard` and `whence demo`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import whence
from whence.cli.options import PLAN, WORKERS
from whence.cli.show import duration, progress, say, show_ablation, show_cost, show_work

#: Members of the ensemble of `whence demo`, the pictures that it draws, and those that it draws again.
MEMBERS, COUNT, SHOWN = 16, 16, 8
#: Half the default batch size: training takes minutes, and the digits are a little less clear.
BATCH_SIZE = 64


def report(
    run: Annotated[
        Path, typer.Argument(help="The directory of an ensemble, or what `attribute` or `credit compute` wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file; default RUN/report.html.")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="A run whose landscapes are compared with those of this run; may be repeated."),
    ] = None,
) -> None:
    """Write a report as one HTML file that opens offline and needs no server.

    Of an ensemble: the pictures, landscapes, counterfactuals and placebos that it has drawn so far. Of scores: the
    proponents and opponents of each picture with error bars, and the pictures for which no score rises above Monte
    Carlo noise. Of credit: the shares of all contributors with intervals, and what is owed to nobody in particular.

    Example: `whence report runs/digits-256 --beside runs/digits-512 --beside runs/digits-1024`
    """
    from whence.report import ENSEMBLE, page_of

    page = page_of(run)
    if beside and page is not ENSEMBLE:
        raise typer.BadParameter(f"--beside compares ensembles; these are {page.content}.")
    if beside:
        first, *others = (whence.Ensemble.open(path) for path in (run, *beside))
        file = whence.write_report(first, out, beside=others)
    else:
        file = page.write(run, out)
    say(f"The report: {file}")


def leaderboard(
    bank: Annotated[
        str, typer.Argument(help="The retrained models: a directory, or `digits`, which comes with Whence.")
    ],
    work: Annotated[
        Path, typer.Option(help="Folder for everything that is made on the way, from which a run continues.")
    ] = Path("runs/leaderboard"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for leaderboard.md and its plots; default WORK itself.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this section alone; may be repeated. choices, lds, draws, deterministic, runtime, deletion, "
            "measures, calibration, ensemble."
        ),
    ] = None,
    draws: Annotated[
        list[int] | None,
        typer.Option(
            help="Draws per picture; may be repeated, the largest is that of all figures but the curve over draws. "
            "Default 10, 50, 100 and 200."
        ),
    ] = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Measure every method by every measure against a bank, and write one page with tables and plots.

    Nothing is retrained for the bank. Each damping is chosen on the bank's development pool and queries, and figures
    are of the other pools and queries, beside random scores and likeness of pixels. Interrupted at any moment, the same
    command continues: a section that was measured is not measured again.

    Example: `whence leaderboard digits --out docs`
    """
    from whence.evaluation.leaderboard.board import Board, LeaderboardConfig
    from whence.evaluation.leaderboard.measure import leaderboard_cost, measure
    from whence.evaluation.leaderboard.page import write_page

    config = LeaderboardConfig(draws=tuple(sorted(draws))) if draws else LeaderboardConfig()
    board = Board(whence.Bank.open(bank), work, config, workers, progress)
    if plan:
        return show_cost(leaderboard_cost(board, only or ()), work)
    measure(board, only or (), say)
    say(f"The page: {write_page(work, out or work, f'whence leaderboard {bank}')}")


def demo(
    out: Annotated[Path, typer.Option(help="The folder for everything.")] = Path("runs/demo"),
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Show the main steps on real handwritten digits: train, draw, leave training images out, write a report."""
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
