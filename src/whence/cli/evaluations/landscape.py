"""The command `whence evaluate landscape`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.evaluations.measures import MANY, SCORES, by_measure, show_measures, show_words
from whence.cli.options import PLAN, WORKERS
from whence.cli.show import say, show_plan

if TYPE_CHECKING:
    from whence.ensemble import Ensemble
    from whence.evaluation.given import Given
    from whence.evaluation.ground_truth import Figures, GroundTruth
    from whence.evaluation.measured import Measured

#: Names of the rows of a second ensemble, and of what it says that a perfect ranking would reach.
SECOND, PERFECT = "(second codebook)", "(perfect, about)"


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
    units. Intervals are over the pictures, chance is that of a random order.

    Example: `whence evaluate landscape scores/ --run runs/ens --second runs/second`
    """
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.residuals import check_request, losses
    from whence.evaluation.agreement import require_independent
    from whence.evaluation.given import given_scores
    from whence.evaluation.given_pictures import given_pictures, require_data
    from whence.evaluation.ground_truth import GroundTruth
    from whence.plan import plan_losses

    given = given_scores(scores)
    ensembles = [Ensemble.open(path) for path in (run, second) if path]
    require_data(ensembles[0], given)
    if second:
        require_independent(*ensembles)
    asked = given_pictures(given, scores)
    for ensemble in ensembles:
        check_request(ensemble, asked.drawn, asked.queries, draws)
    if plan:
        for ensemble in ensembles:
            show_plan(plan_losses(ensemble, len(asked.queries), draws, workers=workers), ensemble.path)
        return
    exact = []
    for seed, ensemble in enumerate(ensembles):  # Draws of its own, so that the images alone are shared.
        with progress(f"exact losses of {ensemble.path}") as report:
            exact.append(
                losses(ensemble, asked.drawn, asked.queries, draws=draws, seed=seed, workers=workers, report=report)
            )
    truth = GroundTruth.of(ensembles[0], exact[0])
    found = {one.name: truth.compare(one.scores) for one in given}
    show(truth, found, truth.compare(exact[1].scores()) if second else None)
    for note in notes(ensembles[0], given):
        show_words(note)
    say(f"Does an attribution go away with what it names? whence evaluate false-attribution {run} --attributor ...")


def show(truth: GroundTruth, found: Mapping[str, Figures], second: Figures | None) -> None:
    """Print the table of all methods, the ceiling, and what it means."""
    from whence.evaluation.ground_truth import ABOVE, AREA, CORRELATION, RECALL

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
    show_words(_ceiling(numbers))
    if queries < MANY:
        say(f"Note: so few pictures leave wide intervals; {MANY} or more make them narrower.")


def perfect(agreement: Measured) -> Measured:
    """Return about what a ranking without any error of the images would reach: the square root of r.

    Two ensembles share what is about the images and nothing else; if that is a share r of the variance of each, the
    images' own ranking correlates with each at √r.
    """
    from dataclasses import replace

    from whence.evaluation.ceiling import ceiling
    from whence.evaluation.measured import Measured

    value, low, high = (
        float(ceiling(r, 1)) for r in (agreement.value, agreement.interval.low, agreement.interval.high)
    )
    return Measured(value, replace(agreement.interval, low=low, high=high), 0.0)


def best(found: Mapping[str, Figures]) -> str:
    """Return in words which method agrees best, and whether that may be chance."""
    from whence.evaluation.ground_truth import CORRELATION

    means = {name: one.measures()[CORRELATION] for name, one in found.items() if CORRELATION in one.measures()}
    order = sorted(means, key=lambda name: -means[name].value)
    if not order or means[order[0]].interval.low <= 0:
        return "No method ranks the units better than a random order, as far as these pictures can tell."
    if len(order) == 1:
        return f"{order[0]} ranks the units better than a random order."
    ahead = found[order[0]].ahead_of(found[order[1]])
    chance = " That may be chance: which of the two is better can't be told." if ahead.interval.low <= 0 else ""
    return (
        f"{order[0]} is closest to the exact losses, ahead of {order[1]} by {ahead.value:.3f} (95% interval "
        f"{ahead.interval.low:.3f} to {ahead.interval.high:.3f}, on the same pictures).{chance}"
    )


def _ceiling(numbers: Mapping[str, Mapping[str, Measured]]) -> str:
    """Return in words how much of the exact losses is about the images."""
    from whence.evaluation.ground_truth import CORRELATION

    if SECOND not in numbers:
        return (
            "How high these figures can be is not known: exact losses are also about who shares code words with whom. "
            "--second RUN, an ensemble on the same data with another --codebook-seed and --seed, tells."
        )
    if PERFECT not in numbers:
        return "The second ensemble has no order of the units, so the ceiling is not known."
    agreed, reached = (numbers[name][CORRELATION] for name in (SECOND, PERFECT))
    return (
        f"Two codebooks agree at r = {agreed.value:.3f}; the rest of the exact losses is about who shares code words "
        f"with whom. A ranking of the images without any error would reach about the square root of r, "
        f"{reached.value:.2f} ({reached.interval.low:.2f} to {reached.interval.high:.2f})."
    )


def notes(ensemble: Ensemble, given: Sequence[Given]) -> list[str]:
    """Return what must be known of the scores to read the figures."""
    from whence.attribution.target import Target

    own, found = Target.open(ensemble).fingerprint, []
    others = [one.name for one in given if one.manifest.inputs.get("model") != own]
    if others:
        found.append(
            f"Of another model than this ensemble: {', '.join(others)}. They are held against what the ensemble knows "
            "of the same images, not against what leaving them out would do to that model."
        )
    unsigned = [one.name for one in given if one.scores.sign == "unsigned"]
    if unsigned:
        found.append(
            f"Unsigned: {', '.join(unsigned)}. They don't tell units that pulled towards the picture from units that "
            "pushed away from it, which are at opposite ends of the exact losses."
        )
    return found
