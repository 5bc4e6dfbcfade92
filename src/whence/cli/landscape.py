"""The commands of `whence ensemble` about the influence of all units: losses, landscape, influence."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import whence
from whence.cli.options import COMBINE, MASK, PLAN, RUN, SAMPLES, WORKERS
from whence.cli.show import say, show_cost, show_notes, show_work

if TYPE_CHECKING:
    from whence.ensemble.landscape import BinaryLandscape

TOP = Annotated[int, typer.Option(min=1, help="How many units to show for each picture.")]
LEVEL_HELP = "Family-wise error: the probability of naming any unit wrongly in one picture."
#: Largest number of pictures whose losses are printed one by one.
PRINTED = 20


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
        typer.Option(help="Show the ablation of this unit; repeated: of all of them together, against placebos."),
    ] = None,
    mask: MASK = None,
    draws: Annotated[int, typer.Option(help="Draws (timestep, noise) per picture.")] = 100,
    combine: COMBINE = "predictions",
    top: TOP = 5,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Measure the exact loss of the ensemble without each unit, on any picture.

    The loss of every ablation follows from one evaluation of each member per draw. With --combine weights each ablation
    is one merged network, and takes an evaluation of its own. The influence of a unit is how much higher the loss is
    without it than with as many members on average; it is positive if the unit pulled the ensemble towards the picture.
    It is compared with that of code words that no unit has, and kept as scores. With --mask it is of a region.

    Example: `whence ensemble losses runs/ens --queries digits:test`
    """
    from whence.attribution.query_focus import focused
    from whence.ensemble.drawing_cost import losses_cost
    from whence.ensemble.influence import independence_note
    from whence.ensemble.make_losses import check_queries, measured_sets

    ensemble = whence.Ensemble.open(run)
    if together := (ensemble.codebook.in_order(unit) if unit else []):
        ensemble.codebook.survivors(together)  # Refused now rather than after all is measured.
    examples = focused(ensemble, whence.read_queries(ensemble, queries), mask)
    show_notes(examples.notes, of="the queries")
    check_queries(ensemble, examples, names := examples.ids, draws)
    sets = measured_sets(ensemble, combine, together)
    if plan:
        return show_cost(losses_cost(ensemble, len(names), draws, sets, engine=whence.Engine(workers)), run)
    with show_work(f"losses of {len(names)} pictures", workers) as engine:
        measured = whence.losses(ensemble, examples, draws=draws, combine=combine, together=together, engine=engine)
    full, scores = measured.full(), measured.scores()
    for name in names[:PRINTED]:
        say(f"Picture {name}: loss {full[names.index(name)]:.4f} by all members, mean over {draws} draws")
        show_influence(measured.influence_on(name, together), top, "increase of the loss")
    if len(names) > PRINTED:
        say(f"... and {len(names) - PRINTED} more pictures.")
    path = measured.path.with_name(f"{measured.path.name}-scores")
    scores.write(path, {"losses": measured.manifest.fingerprint})
    if sets is None:
        say(independence_note(ensemble.codebook.members))
    errors = "without standard errors, which take 8 draws" if scores.standard_error is None else "with standard errors"
    whose = " and ".join(together) if sets is not None and together else "all units"
    say(f"Scores of {whose} {errors}: {path}")
    if re.fullmatch(r"\d+/\d+(-\d+)?", queries) and not together:
        _show_ablation_command(run, [measured.influence_on(name) for name in names[:PRINTED]])


def _show_ablation_command(run: Path, influences: list[whence.Influence]) -> None:
    """Print how the first picture that a unit mattered to is drawn without that unit."""
    for influence in influences:
        if influence.influential:
            options = f"--sample {influence.query} --unit {shlex.quote(influence.influential[0])}"
            return say(f"Next: whence ensemble ablate {shlex.quote(str(run))} {options}")


def landscape(
    run: RUN,
    samples: SAMPLES,
    placebos: Annotated[
        int | None,
        typer.Option(
            help="Code words without a unit to ablate beside the units; default 200, or up to 1,000 if it takes so "
            "many to name one of all units."
        ),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="Leave out these units together, against as many words together; default each by itself."),
    ] = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Draw all counterfactual pictures: without each unit, from the same noise, and placebos beside them.

    Interrupted at any moment, the same command continues, and ends with the same bytes. It takes units x members that
    never saw a unit x sampling steps network evaluations for each picture; --plan says how long that is here.

    Example: `whence ensemble landscape runs/ens --samples 0/0-15`
    """
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.ensemble.make_landscape import missing_trajectories, plan_landscapes

    ensemble = whence.Ensemble.open(run)
    together = unit or []
    if plan:
        _show_fewer_placebos(placebos, plan_landscapes(ensemble, samples, placebos, together)[0].made["placebos"])
        missing = missing_trajectories(ensemble, samples, placebos, together)
        return show_cost(drawing_cost(ensemble, missing, engine=whence.Engine(workers)), run)
    with show_work("drawing the landscape", workers) as engine:
        drawn = whence.landscape(ensemble, samples, placebos=placebos, together=together, engine=engine)
    _show_fewer_placebos(placebos, drawn[0].manifest.made["placebos"])
    for picture in drawn:
        if together:
            say(f"Picture {picture.sample}")
            show_influence(picture.influence(), 1, "distance")
        else:
            show_radius(picture)
    if not together:
        say(f"Next: whence ensemble influence {run} --sample {drawn[0].sample} --top 10, and whence report {run}")


def influence(
    run: RUN,
    sample: SAMPLES,
    top: TOP = 10,
    nearest: Annotated[
        int | None,
        typer.Option(min=1, help="Test only so many units, the closest by pixels: fewer units need fewer placebos."),
    ] = None,
    embedding: Annotated[
        Path | None, typer.Option(help="Measure distances between embeddings of this vision model: its local folder.")
    ] = None,
    binarise: Annotated[
        bool, typer.Option("--binarise", help="Compare pictures in black and white, which may not change at all.")
    ] = False,
    level: Annotated[float, typer.Option(min=1e-6, max=0.5, help=LEVEL_HELP)] = 0.05,
) -> None:
    """Who mattered to a picture, against placebos; or nobody in particular.

    Reads landscapes that were drawn. A unit is named if its counterfactual is further away than placebos are, corrected
    for the number of units that are tested.

    Example: `whence ensemble influence runs/ens --sample 0/3 --top 10`
    """
    from whence.ensemble.ablation import nearest_units
    from whence.ensemble.influence import independence_note
    from whence.ensemble.landscape import binary_landscape, embedding_influence, geometric_mean_radius, open_landscapes
    from whence.ensemble.sampling import expand_names

    if binarise and (nearest or embedding):
        raise typer.BadParameter("--binarise tests all units by pixels: without --nearest and --embedding")
    ensemble = whence.Ensemble.open(run)
    names, influences = expand_names(sample), []
    closest = nearest_units(ensemble, names, nearest) if nearest else []
    for picture in open_landscapes(ensemble, names):
        if binarise:
            show_binary_landscape(binary_landscape(picture))
            continue
        effects = embedding_influence(picture, embedding, level) if embedding else picture.influence(level)
        if nearest:
            effects = effects.restrict([unit for name, units in closest if name == picture.sample for unit in units])
        say(f"Picture {picture.sample}")
        show_influence(effects, top, "distance")
        influences.append(effects)
    if len(influences) > 1:
        say(f"Geometric mean of the {len(influences)} radii: {geometric_mean_radius(influences):.3g}")
    say(independence_note(ensemble.codebook.members))
    if any(effects.threshold is None for effects in influences):
        say(placebo_advice(ensemble, influences[0].placebos_needed))


def _show_fewer_placebos(asked: int | None, found: int) -> None:
    """Say that there are fewer placebos than were asked for, if there are."""
    if asked is not None and found < asked:
        say(f"Note: {asked:,} placebos were asked for; the codebook has words for {found:,} that differ.")


def placebo_advice(ensemble: whence.Ensemble, needed: int) -> str:
    """Return what to do if there are too few placebos to name a unit."""
    book = ensemble.codebook
    left = math.comb(book.members, book.weight) - len(book.units)
    more = f"`ensemble landscape --placebos {needed}` extends a landscape to enough placebos"
    none = f"The codebook has only {left:,} words left for placebos; `ensemble codebook` finds one with enough"
    return (
        f"{more if left >= needed else none}.\nFewer units need fewer: --nearest 10 tests the ten most alike. "
        "Exact losses have placebos at no cost: `ensemble losses`."
    )


def show_influence(influence: whence.Influence, top: int, noun: str) -> None:
    """Print the conclusion, and the first units with their effects, which `noun` names."""
    from whence.ensemble.influence import conclusion, format_p_value, summary

    say(f"  {conclusion(influence, noun)}")
    if len(influence.units) > 1 and len(influence.placebos):
        say(f"  {summary(influence)}")
    say(f"  {'unit':24} {noun:>22} {'p alone':>9} {'p of all':>9}")
    for u in influence.order[:top]:
        p, adjusted = (format_p_value(float(values[u])) for values in (influence.p_values, influence.adjusted_p_values))
        say(f"  {influence.units[u]:24} {influence.effects[u]:22.5g} {p:>9} {adjusted:>9}")


def show_radius(landscape: whence.Landscape) -> None:
    """Print the radius of a landscape beside that of its placebos."""
    from whence.ensemble.landscape import published_scale

    influence = landscape.influence()
    channels, height, width = landscape.factual.shape
    published = f"{influence.radius * published_scale((channels, height, width)):.1f} at 256x256x3"
    over = f"over {len(influence.units):,} units"
    text = f"Picture {landscape.sample}: radius {influence.radius:.3f} ({published}) {over}"
    if len(influence.placebos):
        text += (
            f"; of {influence.matched_count:,} units {influence.matched_radius:.3f}, of as many placebos "
            f"{influence.placebo_radius:.3f}"
        )
    say(text)


def show_binary_landscape(landscape: BinaryLandscape) -> None:
    """Print whether any unit is needed for a picture in black and white."""
    count = len(landscape.changed_pixels)
    start = f"Picture {landscape.sample} in black and white"
    if landscape.unattributable:
        say(f"{start} is unattributable: {count:,} of {count:,} units certify it, each")
        say("  left out by itself changes no pixel.")
        return
    say(f"{start}: radius {landscape.radius:.3f}; {landscape.certifying_units:,} of {count:,} units")
    say("  left out by themselves change no pixel.")
