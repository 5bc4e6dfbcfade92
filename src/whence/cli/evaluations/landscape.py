"""The command `whence evaluate landscape`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.evaluations.landscape_words import PERFECT, SECOND, best, ceiling, notes, perfect
from whence.cli.evaluations.measures import MANY, SCORES, by_measure, show_measures, show_words
from whence.cli.options import PLAN, WORKERS
from whence.cli.show import say, show_cost

if TYPE_CHECKING:
    from whence.evaluation.exact.ground_truth import Figures, GroundTruth


def landscape(
    scores: SCORES,
    run: Annotated[Path, typer.Option(help="The ensemble whose exact losses are the truth.")],
    second: Annotated[
        Path | None,
        typer.Option(help="An ensemble on the same data with other code words and weights, for the ceiling."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws (timestep, noise) per picture of the exact losses.")] = 100,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Do scores rank the units as the exact losses of an encoded ensemble do?

    An ensemble knows exactly how much higher the loss of a picture is without each unit, and which units rise above
    placebos. Measures these losses for the pictures of the scores, unless they are there, and compares the order of the
    units. Intervals are over the pictures and for this ensemble; chance is that of a random order.

    Example: `whence evaluate landscape scores/ --run runs/ens --second runs/second`
    """
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.drawing_cost import losses_cost
    from whence.ensemble.residuals import check_request, losses
    from whence.evaluation.exact.codebook_ceiling import require_independent
    from whence.evaluation.exact.given_pictures import given_pictures, require_data
    from whence.evaluation.exact.ground_truth import GroundTruth
    from whence.scores.stored import read_scores

    given = read_scores(scores)
    ensembles = [Ensemble.open(path) for path in (run, second) if path]
    require_data(ensembles[0], given)
    if second:
        require_independent(*ensembles)
    queries = given_pictures(given, scores).queries
    for ensemble in ensembles:
        check_request(ensemble, queries.values, queries.ids, draws)
    if plan:
        for ensemble in ensembles:
            show_cost(losses_cost(ensemble, len(queries), draws, workers=workers), ensemble.path)
        return
    exact = []
    for seed, ensemble in enumerate(ensembles):  # Draws of its own, so that the images alone are shared.
        with progress(f"exact losses of {ensemble.path}") as report:
            exact.append(
                losses(ensemble, queries.values, queries.ids, draws=draws, seed=seed, workers=workers, report=report)
            )
    truth = GroundTruth.of(ensembles[0], exact[0])
    found = {one.name: truth.compare(one.scores) for one in given}
    show(truth, found, truth.compare(exact[1].scores()) if second else None)
    for note in notes(ensembles[0], given):
        show_words(note)
    say(f"Does an attribution go away with what it names? whence evaluate false-attribution {run} --attributor ...")


def show(truth: GroundTruth, found: Mapping[str, Figures], second: Figures | None) -> None:
    """Print the table of all methods, the ceiling, and what it means."""
    from whence.evaluation.exact.ground_truth import ABOVE, AREA, CORRELATION, RECALL

    queries, named = len(truth.queries), truth.above.sum(1)
    say(f"{queries:,} pictures, {len(truth.units):,} units; the truth is the exact losses of {truth.name}")
    numbers = {name: one.measures() for name, one in found.items()}
    if second:
        numbers[SECOND] = second.measures()
        if CORRELATION in numbers[SECOND]:
            numbers[PERFECT] = {CORRELATION: perfect(numbers[SECOND][CORRELATION])}
    show_measures(by_measure(numbers, {CORRELATION: ".3f", RECALL: ".3f", ABOVE: ".3f", AREA: ".3f"}))
    if named.any():
        show_words(
            f"Above placebos: units rise above them in {int((named > 0).sum())} of {queries} pictures, "
            f"{named[named > 0].mean():.1f} on average there; only these pictures count for those measures."
        )
    else:
        show_words(
            "No unit rises above placebos in any picture, so that only the order of all units can be compared. "
            "`whence ensemble losses` says why, picture by picture."
        )
    show_words(best(found))
    show_words(ceiling(numbers))
    if queries < MANY:
        say(f"Note: so few pictures leave wide intervals; {MANY} or more make them narrower.")
