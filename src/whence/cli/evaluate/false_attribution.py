"""The command `whence evaluate false-attribution`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import whence
from whence.cli.options import PLAN, RUN, WORKERS
from whence.cli.show import progress, say, show_cost, show_work
from whence.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.cost import Cost
    from whence.engine import Engine

#: From so many pictures on, no note says that the interval is wide.
MANY = 100


def false_attribution(
    run: RUN,
    attributor: Annotated[
        str,
        typer.Option(
            help="Any name of `whence methods`: `d-trak`, `pixel`, `embedding:FOLDER` with the folder of a vision "
            "model such as CLIP or DINO ..."
        ),
    ],
    samples: Annotated[
        list[str] | None,
        typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated. Default: all that the ensemble has drawn."),
    ] = None,
    controls: Annotated[int, typer.Option(help="Random units removed, one at a time, for each picture.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the controls and of the bootstrap.")] = 0,
    draws: Annotated[
        int | None,
        typer.Option(help="Draws (timestep, noise) per picture of a method of gradients; default 128."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder for its features; default RUN/evaluations/features.")
    ] = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Does an attribution follow the removal of the unit that it names?

    For each picture the attributor names its top unit. The picture is drawn again without that unit, and without
    another unit at random, and the attributor is asked again, with all units as candidates. The false attribution rate
    is how often it names the same unit after that unit's removal, divided by how often after the random one's.

    Near 0 the attribution is causal: it goes away with what it names. At 1 removing the "source" changes it no more
    than removing a random unit does.

    Example: `whence evaluate false-attribution runs/ens --attributor d-trak --draws 32`
    """
    from whence.attribution.attributor import attributor_of
    from whence.ensemble.sampling import expand_names

    ensemble = whence.Ensemble.open(run)
    names = expand_names(samples) if samples else _all_samples(ensemble)
    config = None if draws is None else whence.AttributionConfig(draws=draws)
    engine = whence.Engine(workers)
    ask = attributor_of(ensemble, attributor, config=config, store=store, engine=engine, progress=progress)
    if plan:
        return show_cost(_cost(ensemble, names, ask, controls, seed, engine), run)
    with show_work(f"drawing {len(names)} pictures without their unit, and without others", workers) as engine:
        result = whence.false_attribution(ensemble, names, ask, controls=controls, seed=seed, engine=engine)
    for line in result_lines(result):
        say(line)
    say(f"What was said of every picture: {result.path}")


def _cost(
    ensemble: whence.Ensemble, names: Sequence[str], ask: whence.Attributor, controls: int, seed: int, engine: Engine
) -> Cost:
    """The cost of drawing, and of gradients where the attributor takes them."""
    from whence.attribution.attributor import GradientAttributor
    from whence.cost import Cost
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.evaluation.false_attribution import missing_trajectories

    # Every picture without a unit costs the same to draw: a method of gradients needn't name the units.
    gradients = ask.plan(len(set(names)) * (2 + controls)) if isinstance(ask, GradientAttributor) else None
    namer = _first_unit(ensemble) if gradients else ask
    missing = missing_trajectories(ensemble, names, namer, controls=controls, seed=seed)
    drawing = drawing_cost(ensemble, missing, engine=engine)
    if gradients is None:
        return drawing
    return Cost(
        seconds=gradients.seconds + drawing.seconds,
        memory=max(gradients.memory, drawing.memory),
        disk=gradients.disk + drawing.disk,
        work=f"{drawing.work}; {gradients.work}",
    )


def _first_unit(ensemble: whence.Ensemble) -> whence.Attributor:
    """An attributor that always names the first unit."""
    import torch

    units, nothing = ensemble.codebook.units[:1], whence.Estimand("nothing", "none", "none", "none", "unit")
    return lambda _, names: whence.Scores(
        torch.zeros(len(names), 1), tuple(names), units, (units,), "first unit", nothing, "unsigned", "max"
    )


def _all_samples(ensemble: whence.Ensemble) -> list[str]:
    """SEED/INDEX of all pictures that were drawn by all members."""
    from whence.report.ensemble import sample_sets

    names = [name for samples in sample_sets(ensemble) if not samples.without for name in samples.names]
    if not names:
        raise ArtefactError(f"No picture has been drawn yet. First: whence ensemble sample {ensemble.path} --count 100")
    return names


def result_lines(result: whence.FalseAttribution) -> list[str]:
    """Return the result as lines of text."""
    count, controls = len(result.trials), len(result.trials[0].controls)
    stayed, others = round(result.fa * count), round(result.control * count * controls)
    units = "a random one" if controls == 1 else f"{controls} random ones"
    lines = [
        f"Attributor {result.attributor}, {count} pictures. How often it named the same unit again:",
        f"  without that unit:    {stayed} of {count}, FA = {result.fa:.2f}",
        f"  without {units}: {others} of {count * controls}, B = {result.control:.2f}",
    ]
    if result.rate is None or result.interval is None:
        return [*lines, "False attribution rate FA/B: undefined, since the control never agreed. Draw more pictures."]
    between = result.interval
    left_out = (
        f", over the {between.resamples - between.undefined:,} of {between.resamples:,} resamples where B is not 0"
        if between.undefined
        else ""
    )
    lines += [
        f"False attribution rate FA/B: {result.rate:.2f}, 95% interval {between.low:.2f} to {between.high:.2f} "
        f"(paired bootstrap over the pictures{left_out})",
        "Near 0 the attribution is causal: it goes away with the unit that it names. At 1 removing that unit changes",
        "it no more than removing a random one.",
    ]
    if not stayed:
        bound = 1 - 0.05 ** (1 / count)
        lines.append(f"No attribution stayed, so the interval shows nothing; FA may be up to {bound:.2f} (95%).")
    if count < MANY:
        lines.append(f"So few pictures ({count}) leave a wide interval; {MANY} or more make it narrower.")
    return lines
