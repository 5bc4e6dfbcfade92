"""The commands that compare scores with exact counterfactuals of an ensemble: `landscape` and its `ceiling`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import whence
from whence.cli.options import COMBINE, PLAN, RUN, SCORES, WORKERS
from whence.cli.show import MANY, say, show_cost, show_paragraph, show_statistics, show_work

if TYPE_CHECKING:
    from whence.evaluation.ground_truth import GroundTruth, RankingAgreement
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic


#: Names of the rows of a second ensemble, and of a ranking of the images without any error.
SECOND, PERFECT = "(second codebook)", "(perfect, about)"


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

    from whence.evaluation.ground_truth import ceiling as measure
    from whence.statistics.ranks import TOP

    agreement = measure(whence.Ensemble.open(run), whence.Ensemble.open(second))
    for name, correlation, recall in zip(agreement.queries, agreement.correlations, agreement.recalls, strict=True):
        say(f"Picture {name}: Spearman {correlation:6.2f}, top {TOP} shared {recall:.0%}")
    say(
        f"Median of {len(agreement.queries)}: Spearman {np.nanmedian(agreement.correlations):.2f}; top {TOP} shared "
        f"{agreement.recalls.mean():.0%} on average, {agreement.chance:.0%} by chance."
    )
    say("No estimate of these landscapes can be expected to say more about the images than this.")


def landscape(
    scores: SCORES,
    run: Annotated[Path, typer.Option(help="The ensemble whose exact losses are the truth.")],
    second: Annotated[
        Path | None,
        typer.Option(help="An ensemble on the same data with other code words and weights, for the ceiling."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws (timestep, noise) per picture of the exact losses.")] = 100,
    combine: COMBINE = "predictions",
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Do scores rank the units as the exact losses of an encoded ensemble do?

    An ensemble knows exactly how much higher the loss of a picture is without each unit, and which units rise above
    placebos. Measures these losses for the pictures of the scores, unless they are there, and compares the order of the
    units. Intervals are over the pictures and for this ensemble; chance is that of a random order.

    Example: `whence evaluate landscape scores/ --run runs/ens --second runs/second`
    """
    from whence.attribution.ensemble_queries import encode_shown
    from whence.ensemble.drawing_cost import losses_cost
    from whence.ensemble.make_losses import check_queries, measured_sets
    from whence.evaluation.ground_truth import GroundTruth, require_independent
    from whence.evaluation.queries import require_same_data, shared_pictures
    from whence.scores.stored import read_scores

    stored = read_scores(scores)
    ensembles = [whence.Ensemble.open(path) for path in (run, second) if path]
    require_same_data(ensembles[0], stored)
    if second:
        require_independent(*ensembles)
    shown = shared_pictures(stored, scores).queries
    queries = [encode_shown(ensemble, shown) for ensemble in ensembles]
    for ensemble, own in zip(ensembles, queries, strict=True):
        check_queries(ensemble, own, (), draws)
    if plan:
        for ensemble in ensembles:
            sets = measured_sets(ensemble, combine)
            show_cost(losses_cost(ensemble, len(shown), draws, sets, engine=whence.Engine(workers)), ensemble.path)
        return
    exact = []
    for seed, ensemble in enumerate(ensembles):  # Other draws for each, so that they share the images alone.
        with show_work(f"exact losses of {ensemble.path}", workers) as engine:
            measured = whence.losses(ensemble, queries[seed], draws=draws, seed=seed, combine=combine, engine=engine)
            exact.append(measured)
    truth = GroundTruth.of(ensembles[0], exact[0])
    agreements = {method.name: truth.compare(method.scores) for method in stored}
    _show(truth, agreements, truth.compare(exact[1].scores()) if second else None)
    for note in _notes(ensembles[0], stored):
        show_paragraph(note)
    say(f"Does an attribution go away with what it names? whence evaluate false-attribution {run} --attributor ...")


def _show(truth: GroundTruth, methods: Mapping[str, RankingAgreement], second: RankingAgreement | None) -> None:
    """Print the table of all methods, the ceiling, and what they mean."""
    from whence.evaluation.ground_truth import ABOVE, AREA, CORRELATION, RECALL

    queries, named = len(truth.queries), truth.above.sum(1)
    say(f"{queries:,} pictures, {len(truth.units):,} units; the truth is the exact losses of {truth.name}")
    numbers = {name: agreement.statistics() for name, agreement in methods.items()}
    if second:
        numbers[SECOND] = second.statistics()
        if CORRELATION in numbers[SECOND]:
            numbers[PERFECT] = {CORRELATION: perfect_correlation(numbers[SECOND][CORRELATION])}
    show_statistics(numbers, dict.fromkeys((CORRELATION, RECALL, ABOVE, AREA), ".3f"))
    if named.any():
        show_paragraph(
            f"Above placebos: units rise above them in {int((named > 0).sum())} of {queries} pictures, "
            f"{named[named > 0].mean():.1f} on average there; only these pictures count for those measures."
        )
    else:
        show_paragraph(
            "No unit rises above placebos in any picture, so that only the order of all units can be compared. "
            "`whence ensemble losses` says why, picture by picture."
        )
    show_paragraph(best_method(methods))
    show_paragraph(_ceiling_note(numbers))
    if queries < MANY:
        say(f"Note: so few pictures leave wide intervals; {MANY} or more make them narrower.")


def perfect_correlation(agreement: Statistic) -> Statistic:
    """Return about which correlation a ranking of the images without any error would reach: the square root of r.

    Two ensembles share what is about the images and nothing else. If that is a share r of the variance of each, the
    ranking of the images correlates with each at √r.
    """
    from dataclasses import replace

    from whence.evaluation.prediction.ceiling import ceiling as ceiling_of_seeds
    from whence.statistics.statistic import Statistic

    ends = (agreement.value, agreement.interval.low, agreement.interval.high)
    value, low, high = (float(ceiling_of_seeds(r, 1)) for r in ends)
    return Statistic(value, replace(agreement.interval, low=low, high=high), 0.0)


def best_method(methods: Mapping[str, RankingAgreement]) -> str:
    """Return a sentence that says which method agrees best, and whether that may be chance."""
    from whence.evaluation.ground_truth import CORRELATION

    statistics = {name: agreement.statistics() for name, agreement in methods.items()}
    means = {name: numbers[CORRELATION] for name, numbers in statistics.items() if CORRELATION in numbers}
    order = sorted(means, key=lambda name: -means[name].value)
    if not order or means[order[0]].interval.low <= 0:
        return "No method ranks the units better than a random order, as far as these pictures can tell."
    if len(order) == 1:
        return f"{order[0]} ranks the units better than a random order."
    leads = {name: methods[order[0]].lead_over(methods[name]) for name in order[1:]}
    tied = [name for name, lead in leads.items() if lead.interval.low <= 0]
    if tied:
        return (
            f"Which method is closest to the exact losses can't be told: on the same pictures {order[0]} is not ahead "
            f"of {', '.join(tied)} by more than chance."
        )
    lead = leads[order[1]]
    return (
        f"{order[0]} is closest to the exact losses, ahead of {order[1]} by {lead.value:.3f} (95% interval "
        f"{lead.interval.low:.3f} to {lead.interval.high:.3f}, on the same pictures)."
    )


def _ceiling_note(numbers: Mapping[str, Mapping[str, Statistic]]) -> str:
    """A sentence that says how much of the exact losses is about the images."""
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


def _notes(ensemble: whence.Ensemble, stored: Sequence[StoredScores]) -> list[str]:
    """What must be known of the scores to read the figures."""
    from whence.attribution.target import Target

    fingerprint, notes = Target.open(ensemble).fingerprint, []
    others = [method.name for method in stored if method.manifest.inputs.get("model") != fingerprint]
    if others:
        notes.append(
            f"Of another model than this ensemble: {', '.join(others)}. They are held against what the ensemble knows "
            "of the same images, not against what leaving them out would do to that model."
        )
    unsigned = [method.name for method in stored if method.scores.sign == "unsigned"]
    if unsigned:
        notes.append(
            f"Unsigned: {', '.join(unsigned)}. They don't tell units that pulled towards the picture from units that "
            "pushed away from it, which are at opposite ends of the exact losses."
        )
    return notes
