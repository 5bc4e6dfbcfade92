"""The commands of `whence ensemble` about all units at once: codebook, losses, landscape, influence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.ensemble import app
from whence.cli.options import PLAN, RUN, WORKERS
from whence.cli.readings import show_binarised, show_radius, show_reading, way_out
from whence.cli.show import say, show_cost

TOP = Annotated[int, typer.Option(min=1, help="How many units to show for each picture.")]
LEVEL_HELP = "Family-wise error: the probability of naming anybody wrongly in one picture."
#: Pictures whose losses are told one by one.
TOLD = 20


@app.command()
def codebook(
    units: Annotated[int, typer.Option(help="Number of units: images, or artists where each is left out as one.")],
    remove: Annotated[int, typer.Option(help="Units that may be removed together, any of them.")] = 1,
    survivors: Annotated[int, typer.Option(help="Members that must be left then.")] = 1,
) -> None:
    """Choose members and weight of a codebook before paying for it: guarantee, cost and power.

    A word of weight w shows its unit to w of M members, so w <= (M - survivors) / remove is the guarantee. The table
    begins with the fewest members. Its last columns are predictions: how often an image that was trained on is traced
    back to its own unit by exact losses, if members that saw it know it better by so many standard deviations between
    members.

    Example: `whence ensemble codebook --units 1500 --remove 2 --survivors 2`
    """
    from whence.cli.designs import show_designs

    show_designs(units, remove, survivors)


@app.command()
def losses(
    run: RUN,
    queries: Annotated[
        str,
        typer.Option(
            help="Any pictures: a folder of images or other data like DATA of `whence train`, or SEED/FIRST-LAST of "
            "pictures that the ensemble drew."
        ),
    ],
    unit: Annotated[
        list[str] | None,
        typer.Option(help="Tell of the ablation of this unit; repeated: of all of them together, against placebos."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws (timestep, noise) per picture.")] = 100,
    top: TOP = 5,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Measure the exact loss of the ensemble without each unit, on any picture.

    The loss of every ablation follows from one evaluation of each member per draw. A unit's influence is how much
    higher the loss is without it than without as many members in general: positive if it pulled the ensemble towards
    the picture. It is held against the code words that no unit has; all units' influences are kept as scores.

    Example: `whence ensemble losses runs/ens --queries digits:test`
    """
    from whence.attribution.queries import read_queries
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.drawing_cost import losses_cost
    from whence.ensemble.residuals import check_request
    from whence.ensemble.residuals import losses as measure
    from whence.ensemble.verdict import shared

    ensemble = Ensemble.open(run)
    together = ensemble.codebook.in_order(unit) if unit else []
    if together:
        ensemble.codebook.survivors(together)  # Refused now rather than when all is measured.
    examples = read_queries(ensemble, queries)
    names, pictures = examples.ids, examples.values
    check_request(ensemble, pictures, names, draws)
    if plan:
        show_cost(losses_cost(ensemble, len(names), draws, workers=workers), run)
        return
    with progress(f"losses of {len(names)} pictures") as report:
        found = measure(ensemble, pictures, names, draws=draws, workers=workers, report=report)
    full, scores = found.full(), found.scores()
    for name in names[:TOLD]:
        say(f"Picture {name}: loss {full[names.index(name)]:.4f} by all members, mean over {draws} draws")
        show_reading(found.reading(name, together), top, "increase of the loss")
    if len(names) > TOLD:
        say(f"... and {len(names) - TOLD} more pictures.")
    path = found.path.with_name(f"{found.path.name}-scores")
    scores.write(path, {"losses": found.manifest.fingerprint})
    say(shared(ensemble.codebook.members))
    say(f"Scores of all units with standard errors: {path}")


@app.command()
def landscape(
    run: RUN,
    samples: Annotated[list[str], typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated.")],
    placebos: Annotated[int, typer.Option(help="Code words without a unit to ablate beside the units.")] = 200,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="Instead of every unit by itself: leave out these together, against as many words together."),
    ] = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Draw all counterfactual pictures: without each unit, from the same noise, and placebos beside them.

    Interrupted at any moment, the same command continues, and ends with the same bytes. It takes units x members that
    never saw a unit x sampling steps network evaluations for each picture; --plan says how long that is here.

    Example: `whence ensemble landscape runs/ens --samples 0/0-15`
    """
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.ensemble.landscaping import landscape as draw_landscape
    from whence.ensemble.landscaping import plan_landscapes

    ensemble = Ensemble.open(run)
    if plan:
        missing = [one for one in plan_landscapes(ensemble, samples, placebos, unit or []) if not one.is_there()]
        rows = {
            one.sampler: [t for same in missing if same.sampler == one.sampler for t in same.trajectories]
            for one in missing
        }
        show_cost(drawing_cost(ensemble, rows, workers=workers), run)
        return
    with progress("drawing the landscape") as report:
        found = draw_landscape(
            ensemble, samples, placebos=placebos, together=unit or [], workers=workers, report=report
        )
    if unit:
        for one in found:
            say(f"Picture {one.sample}")
            show_reading(one.reading(), 1, "distance")
    else:
        for one in found:
            show_radius(one)
        say(f"Next: whence ensemble influence {run} --sample {found[0].sample} --top 10, and whence report {run}")


@app.command()
def influence(
    run: RUN,
    sample: Annotated[list[str], typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated.")],
    top: TOP = 10,
    nearest: Annotated[
        int | None,
        typer.Option(min=1, help="Ask only about so many units, the closest by pixels: fewer need fewer placebos."),
    ] = None,
    embedding: Annotated[
        Path | None, typer.Option(help="Distances as a vision model sees them (CLIP, DINO ...): its local folder.")
    ] = None,
    binarise: Annotated[
        bool, typer.Option("--binarise", help="Look at pictures in black and white, which may not change at all.")
    ] = False,
    level: Annotated[float, typer.Option(min=1e-6, max=0.5, help=LEVEL_HELP)] = 0.05,
) -> None:
    """Who mattered to a picture, against placebos; or nobody in particular.

    Reads landscapes that were drawn. A unit is named if its counterfactual is further away than placebos are, corrected
    for the number of units that are asked about.

    Example: `whence ensemble influence runs/ens --sample 0/3 --top 10`
    """
    from whence.ensemble import Ensemble
    from whence.ensemble.landscape import open_landscapes
    from whence.ensemble.reading import binarised, embedded, geometric_mean_radius
    from whence.ensemble.suspects import expand_names, nearest_units
    from whence.ensemble.verdict import shared

    if binarise and (nearest or embedding):
        raise typer.BadParameter("--binarise asks about all units by pixels: without --nearest and --embedding")
    ensemble = Ensemble.open(run)
    names, readings = expand_names(sample), []
    suspects = nearest_units(ensemble, names, nearest) if nearest else []
    for one in open_landscapes(ensemble, names):
        if binarise:
            show_binarised(binarised(one))
            continue
        reading = embedded(one, embedding, level) if embedding else one.reading(level)
        if nearest:
            reading = reading.among([unit for name, units in suspects if name == one.sample for unit in units])
        say(f"Picture {one.sample}")
        show_reading(reading, top, "distance")
        readings.append(reading)
    if len(readings) > 1:
        say(f"Geometric mean of the {len(readings)} radii: {geometric_mean_radius(readings):.3g}")
    say(shared(ensemble.codebook.members))
    if any(reading.threshold is None for reading in readings):
        say(way_out(ensemble, readings[0].needed))
