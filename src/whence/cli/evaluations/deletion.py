"""The command `whence evaluate deletion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.evaluations.measures import SCORES, show_measures, show_words
from whence.cli.options import PLAN, WORKERS
from whence.cli.show import say, show_cost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from whence.evaluation.bank import Bank
    from whence.evaluation.deletion import Deletion, Effect
    from whence.scores.scores import Scores
    from whence.statistics.statistic import Statistic as Statistic

WORDS = """Above random: how much higher the loss of the query (or the distance of its picture, drawn again from the
same noise) is without what the method names than without random images of the same classes; 0 by chance. Worse: share
of the queries for which it is higher. Intervals are over queries. A larger change is no proof of a source: it says that
the model needed these images for this query more than others of their classes."""


def deletion(
    scores: SCORES,
    bank: Annotated[str, typer.Option(help="The retrained models: a directory, or `digits`, which comes with Whence.")],
    top: Annotated[str, typer.Option(help="How many images are removed for each query, or which share of all.")] = "5%",
    count: Annotated[int, typer.Option(min=1, help="Queries: half held out, half drawn, none for development.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of every removal.")] = 2,
    random: Annotated[
        bool,
        typer.Option("--random", help="Also remove random images in the place of the first method's: the zero line."),
    ] = False,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain/--no-retrain",
            help="Without: only read what was measured before, with the queries and seeds of then, and say how many "
            "of the removed images these scores name.",
        ),
    ] = True,
    store: Annotated[
        Path | None, typer.Option(help="Folder for what is measured of retrained models; default the bank's own.")
    ] = None,
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
    from whence.cli.progress import progress
    from whence.evaluation.bank import Bank
    from whence.evaluation.deletion import Wanted, carry_out, measured_deletion, missing_runs, zero_of
    from whence.evaluation.deletion.deletion_cost import deletion_cost
    from whence.scores.stored import read_scores

    opened = Bank.open(bank)
    given = {one.name: opened.require(one.scores, one.manifest) for one in read_scores(scores)}
    if plan or retrain:
        wanted = [Wanted.of(opened, one, top=top, count=count, seeds=seeds) for one in given.values()]
        wanted += [wanted[0].zero(opened)] if random else []
        if plan:
            show_cost(deletion_cost(opened, wanted, store=store, workers=workers), store or opened.path)
            return
        with progress(f"retraining {len(missing_runs(opened, wanted, store))} models") as report:
            measured = carry_out(opened, wanted, store=store, workers=workers, report=report)
        found = dict(zip(given, measured, strict=False))
    else:
        found = {name: measured_deletion(opened, one, top=top, store=store) for name, one in given.items()}
    show_removed(opened, found, given)
    zeros = {f"random for {name}": zero_of(opened, one, store) for name, one in found.items()}
    show_measures(rows(opened, found, {name: zero for name, zero in zeros.items() if zero}))
    show_words(WORDS)


def show_removed(bank: Bank, found: Mapping[str, Deletion], given: Mapping[str, Scores]) -> None:
    """Print what was removed, and where that isn't what the scores name now."""
    for name, one in found.items():
        size, queries, drawn = one.wanted.removed.shape[1], len(one.wanted.queries), len(one.drawn(bank))
        seeds = len(one.wanted.seeds)
        say(
            f"{name}: {size} of {len(bank.examples):,} images removed for each of {queries} queries "
            f"({queries - drawn} held out, {drawn} drawn), {seeds} training seed{'s' if seeds > 1 else ''}"
        )
        overlap = one.overlap(bank, given[name])
        if overlap.min() < 1:
            say(
                f"Note: measured was the removal for other scores by {one.wanted.method}; of those images these scores "
                f"name {overlap.mean():.0%} ({overlap.min():.0%} or more for each query)."
            )
    say("")


def rows(
    bank: Bank, found: Mapping[str, Deletion], zeros: Mapping[str, Deletion]
) -> Iterator[tuple[str, str, Statistic, str]]:
    """Yield measure, method, number and format: effects, then what the first method does beyond the others."""
    from whence.evaluation.deletion import Comparison, Figures

    figures = {name: Figures.of(bank, one) for name, one in {**found, **zeros}.items()}
    yield from _effects("loss", {name: one.loss for name, one in figures.items()}, "+.5f")
    for name, one in figures.items():
        yield "other queries' loss, above random / loss", name, one.others.relative, "+.2%"
    yield from _effects("picture", {name: one.picture for name, one in figures.items() if one.picture}, "+.3f")
    first, *others = found
    compared = {name: Comparison.of(bank, found[first], found[name]) for name in others}
    for name, both in compared.items():
        yield f"loss, {first} minus ...", name, both.loss, "+.5f"
    for name, both in compared.items():
        if both.picture:
            yield f"picture, {first} minus ...", name, both.picture, "+.3f"


def _effects(what: str, effects: Mapping[str, Effect], form: str) -> Iterator[tuple[str, str, Statistic, str]]:
    unit = "loss" if what == "loss" else "distance"
    for name, one in effects.items():
        yield f"{what}, above random", name, one.increase, form
    for name, one in effects.items():
        yield f"{what}, above random / {unit}", name, one.relative, "+.1%"
    for name, one in effects.items():
        yield f"{what}, worse than random", name, one.worse, ".0%"
