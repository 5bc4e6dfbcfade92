"""The command `whence evaluate deletion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import whence
from whence.cli.options import BANK, PLAN, SCORES, WORKERS
from whence.cli.show import say, show_cost, show_paragraph, show_table, show_work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from whence.evaluation.deletion import Deletion, Effect
    from whence.statistics.statistic import Statistic

WORDS = """Above random: how much higher the loss of the query (or the distance of its picture, drawn again from the
same noise) is without what the method names than without random images of the same classes; 0 by chance. Worse: share
of the queries for which it is higher. Intervals are over queries. A larger change is no proof of a source: it says that
the model needed these images for this query more than others of their classes."""


RANDOM = Annotated[
    bool,
    typer.Option("--random", help="Also remove random images in the place of the first method's: the zero line."),
]
RETRAIN = Annotated[
    bool,
    typer.Option(
        "--retrain/--no-retrain",
        help="Without: only read what was measured before, with the queries and seeds of then, and say how many "
        "of the removed images these scores name.",
    ),
]
STORE = Annotated[
    Path | None, typer.Option(help="Folder for what is measured of retrained models; default the bank's own.")
]


def deletion(
    scores: SCORES,
    bank: BANK,
    top: Annotated[str, typer.Option(help="How many images are removed for each query, or which share of all.")] = "5%",
    count: Annotated[int, typer.Option(min=1, help="Queries: half held out, half drawn, none for development.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of every removal.")] = 2,
    random: RANDOM = False,
    retrain: RETRAIN = True,
    store: STORE = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Does removing what a method names hurt more than removing at random?

    For each query the images of the largest scores are removed and a model is trained from scratch on the rest; beside
    it, one without as many random images of the same classes, with the same training seed. Compared are the losses of
    the query and, for drawn queries, how far the picture drawn again from the same noise is from the query. Interrupted
    at any moment, the same command continues; what two methods both remove is trained once.

    Example: `whence evaluate deletion scores/d-trak scores/pixel-cosine --bank bank/ --plan`
    """
    from whence.evaluation.deletion import (
        Removal,
        measure_removals,
        missing_retrainings,
        read_deletion,
        read_random_baseline,
    )
    from whence.evaluation.deletion.make_deletion import deletion_cost
    from whence.scores.stored import read_scores

    models = whence.Bank.open(bank)
    stored = {method.name: models.require(method.scores, method.manifest) for method in read_scores(scores)}
    if plan or retrain:
        removals = [Removal.of(models, method, top=top, count=count, seeds=seeds) for method in stored.values()]
        removals += [removals[0].random_baseline(models)] if random else []
        if plan:
            cost = deletion_cost(models, removals, store=store, engine=whence.Engine(workers))
            return show_cost(cost, store or models.path)
        with show_work(f"retraining {len(missing_retrainings(models, removals, store))} models", workers) as engine:
            measured = measure_removals(models, removals, store=store, engine=engine)
        deletions = dict(zip(stored, measured, strict=False))
    else:
        deletions = {name: read_deletion(models, method, top=top, store=store) for name, method in stored.items()}
    _show_removals(models, deletions, stored)
    zeros = {f"random for {name}": read_random_baseline(models, one, store) for name, one in deletions.items()}
    show_table(_rows(models, deletions, {name: zero for name, zero in zeros.items() if zero}))
    show_paragraph(WORDS)


def _show_removals(bank: whence.Bank, deletions: Mapping[str, Deletion], stored: Mapping[str, whence.Scores]) -> None:
    """Print which images were removed, and where the scores name other images now."""
    for name, deletion in deletions.items():
        removal = deletion.removal
        size, queries, drawn = removal.removed.shape[1], len(removal.queries), len(deletion.drawn_queries(bank))
        seeds = len(removal.seeds)
        say(
            f"{name}: {size} of {len(bank.examples):,} images removed for each of {queries} queries "
            f"({queries - drawn} held out, {drawn} drawn), {seeds} training seed{'s' if seeds > 1 else ''}"
        )
        overlap = deletion.overlap(bank, stored[name])
        if overlap.min() < 1:
            say(
                f"Note: measured was the removal for other scores by {removal.method}; of those images these scores "
                f"name {overlap.mean():.0%} ({overlap.min():.0%} or more for each query)."
            )
    say("")


def _rows(
    bank: whence.Bank, deletions: Mapping[str, Deletion], zeros: Mapping[str, Deletion]
) -> Iterator[tuple[str, str, Statistic, str]]:
    """Yield measure, method, number and format: the effects, then differences of the first method to the others."""
    from whence.evaluation.deletion import DeletionComparison, DeletionEffects

    figures = {name: DeletionEffects.of(bank, deletion) for name, deletion in {**deletions, **zeros}.items()}
    yield from _effects("loss", {name: numbers.loss for name, numbers in figures.items()}, "+.5f")
    for name, numbers in figures.items():
        yield "other queries' loss, above random / loss", name, numbers.others.relative, "+.2%"
    pictures = {name: numbers.picture for name, numbers in figures.items() if numbers.picture}
    yield from _effects("picture", pictures, "+.3f")
    first, *others = deletions
    comparisons = {name: DeletionComparison.of(bank, deletions[first], deletions[name]) for name in others}
    for name, comparison in comparisons.items():
        yield f"loss, {first} minus ...", name, comparison.loss, "+.5f"
    for name, comparison in comparisons.items():
        if comparison.picture:
            yield f"picture, {first} minus ...", name, comparison.picture, "+.3f"


def _effects(noun: str, effects: Mapping[str, Effect], form: str) -> Iterator[tuple[str, str, Statistic, str]]:
    unit = "loss" if noun == "loss" else "distance"
    for name, effect in effects.items():
        yield f"{noun}, above random", name, effect.increase, form
    for name, effect in effects.items():
        yield f"{noun}, above random / {unit}", name, effect.relative, "+.1%"
    for name, effect in effects.items():
        yield f"{noun}, worse than random", name, effect.worse, ".0%"
