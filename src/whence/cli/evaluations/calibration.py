"""The command `whence evaluate calibration`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from whence.cli.evaluations.measures import SCORES, by_measure, show_measures, show_words
from whence.cli.show import say

WORDS = """R²: the share of the measured differences between subsets that the line explains, of all queries together,
and as the mean of each one's own. A slope of 1: losses change as much as predicted; below 1, predictions overshoot.
Only scores in units of the loss, such as TracIn's, claim a slope: methods without a unit compare by R² alone. The
intercept is the change from training on everything where none is predicted, such as the cost of training on less. No
range is predicted, so nothing is said of how often a measured change is in one."""


def calibration(
    scores: SCORES,
    bank: Annotated[str, typer.Option(help="The retrained models: a directory, or `digits`, which comes with Whence.")],
    pool: Annotated[
        str, typer.Option(help="Which of them: `test`, `development` (to choose knobs), `deterministic-10%` ...")
    ] = "test",
    queries: Annotated[
        Literal["all", "held-out", "drawn"], typer.Option(help="Kinds of queries, each a table.")
    ] = "all",
    use: Annotated[
        Literal["reported", "development"], typer.Option(help="Queries for reported figures, or to choose knobs on.")
    ] = "reported",
) -> None:
    """Is the loss of a query changed as much as the scores predict, when training images are left out?

    The scores of the images that a subset leaves out are added up, and the loss after training on the subset is fitted
    to these sums by a line, query by query and of all queries together. Intervals are over the subsets.

    Example: `whence evaluate calibration scores/ --bank digits --pool development --use development`
    """
    from whence.evaluation.asked import Kind, Use
    from whence.evaluation.bank.bank import Bank
    from whence.evaluation.prediction.bank_calibration import bank_calibration
    from whence.evaluation.tuning import tuning_notes
    from whence.scores.stored import read_scores

    given, opened = read_scores(scores), Bank.open(bank)
    kinds = list(Kind) if queries == "all" else [Kind(queries)]
    forms = {"R² together": ".3f", "R² of each": ".3f", "slope": ".3g", "slope of each": ".3g", "intercept": ".2g"}
    for kind, table in bank_calibration(opened, given, pool, kinds, Use(use)).items():
        count, subsets = len(next(iter(table.values())).slopes), len(opened.pool(pool).kept)
        say(f"{count} {kind.replace('-', ' ')} queries ({use}), pool {pool}: {subsets} subsets")
        numbers = {
            name: dict(zip(forms, (one.r2, one.query_r2, one.slope, one.query_slope, one.intercept), strict=True))
            for name, one in table.items()
        }
        show_measures(by_measure(numbers, forms))
    show_words(WORDS)
    for note in tuning_notes(given, pool, Use(use), {query for one in given for query in one.scores.queries}):
        say(f"Warning: {note}")
