"""The commands `whence evaluate ...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.options import PLAN, RUN, WORKERS
from whence.cli.show import say, show_plan

if TYPE_CHECKING:
    from whence.ensemble import Ensemble
    from whence.evaluation.false_rate import FalseAttribution

#: Pictures from which on an interval is narrow enough not to be warned about.
MANY = 100

app = typer.Typer(
    help="How far an attribution can be believed: measured against counterfactuals, with controls and intervals.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def ceiling(
    run: RUN,
    second: Annotated[Path, typer.Argument(help="An ensemble on the same data with other code words and weights.")],
) -> None:
    """How far two independent codebooks agree on who mattered: the ceiling of any agreement with a landscape.

    Compares the distances of all units in the landscapes of the same pictures. Train the second ensemble with another
    --codebook-seed and another --seed, and draw the same --samples of both.

    Example: `whence evaluate ceiling runs/ens runs/second`
    """
    import numpy as np

    from whence.ensemble import Ensemble
    from whence.evaluation.agreement import TOP
    from whence.evaluation.agreement import ceiling as measure

    found = measure(Ensemble.open(run), Ensemble.open(second))
    for name, correlation, recall in zip(found.queries, found.correlations, found.recalls, strict=True):
        say(f"Picture {name}: Spearman {correlation:6.2f}, top {TOP} shared {recall:.0%}")
    say(
        f"Median of {len(found.queries)}: Spearman {np.nanmedian(found.correlations):.2f}; top {TOP} shared "
        f"{found.recalls.mean():.0%} on average, {found.chance:.0%} by chance."
    )
    say("No estimate of these landscapes can be expected to say more about the images than this.")


@app.command("false-attribution")
def false_attribution(
    run: RUN,
    attributor: Annotated[
        str,
        typer.Option(
            help="`pixel`, `pixel-dot`, `pixel-cosine`, `pixel-flips` (an image also stands for its mirror image), or "
            "`embedding:FOLDER`, `embedding-dot:FOLDER`, `embedding-cosine:FOLDER` with the folder of a vision model "
            "such as CLIP or DINO."
        ),
    ],
    samples: Annotated[
        list[str] | None,
        typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated. Default: all that the ensemble has drawn."),
    ] = None,
    controls: Annotated[int, typer.Option(help="Random units removed, one at a time, for each picture.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the controls and of the bootstrap.")] = 0,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Does an attribution follow the removal of the unit that it names?

    For each picture the attributor names its top unit. The picture is drawn again without that unit, and without
    another unit at random, and the attributor is asked again, with all units as candidates. The false attribution rate
    is how often it names the same unit after that unit's removal, divided by how often after the random one's.

    Near 0 the attribution is causal: it goes away with what it names. At 1 removing the "source" changes it no more
    than removing a random unit does.

    Example: `whence evaluate false-attribution runs/ens --attributor pixel --samples 0/0-15`
    """
    from whence.attribution.attributors import attributor as attributor_for
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.suspects import expand_names
    from whence.evaluation.false_attribution import false_attribution as measure
    from whence.evaluation.false_attribution import missing_trajectories
    from whence.plan import plan_drawing

    ensemble = Ensemble.open(run)
    names = expand_names(samples) if samples else _drawn(ensemble)
    ask = attributor_for(attributor, ensemble.data)
    if plan:
        missing = missing_trajectories(ensemble, names, ask, controls=controls, seed=seed)
        show_plan(plan_drawing(ensemble, missing, workers=workers), run)
        return
    with progress(f"drawing {len(names)} pictures without their unit, and without others") as report:
        found = measure(ensemble, names, ask, controls=controls, seed=seed, workers=workers, report=report)
    for line in describe(found):
        say(line)
    say(f"What was said of every picture: {found.path}")


def _drawn(ensemble: Ensemble) -> list[str]:
    """All pictures of all members."""
    from whence.errors import ArtefactError
    from whence.report.gallery import sample_sets

    names = [name for samples in sample_sets(ensemble) if not samples.without for name in samples.names]
    if not names:
        raise ArtefactError(f"No picture has been drawn yet. First: whence ensemble sample {ensemble.path} --count 100")
    return names


def describe(found: FalseAttribution) -> list[str]:
    """Return the result in words, a line each."""
    count, controls = len(found.rows), len(found.rows[0].controls)
    stayed, others = round(found.fa * count), round(found.control * count * controls)
    units = "a random one" if controls == 1 else f"{controls} random ones"
    lines = [
        f"Attributor {found.attributor}, {count} pictures. How often it named the same unit again:",
        f"  without that unit:    {stayed} of {count}, FA = {found.fa:.2f}",
        f"  without {units}: {others} of {count * controls}, B = {found.control:.2f}",
    ]
    if found.rate is None or found.interval is None:
        return [*lines, "False attribution rate FA/B: undefined, since the control never agreed. Draw more pictures."]
    between = found.interval
    left_out = (
        f", over the {between.resamples - between.undefined:,} of {between.resamples:,} resamples where B is not 0"
        if between.undefined
        else ""
    )
    lines += [
        f"False attribution rate FA/B: {found.rate:.2f}, 95% interval {between.low:.2f} to {between.high:.2f} "
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
