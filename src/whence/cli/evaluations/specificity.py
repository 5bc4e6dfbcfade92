"""The command `whence evaluate specificity`."""

from __future__ import annotations

from typing import Annotated

import typer

from whence.cli.evaluations.measures import SCORES, by_measure, show_measures, show_what, show_words

WORDS = """More different images, and fewer that recur, are more specific. Chance is that of a random order, which is
as specific as can be and says nothing. Images that recur for unlike pictures tell of the method, often of long
gradients; for pictures that are alike it may be right."""


def specificity(
    scores: SCORES,
    top: Annotated[int, typer.Option(min=1, help="Training images at the top of each query that are looked at.")] = 20,
) -> None:
    """Are different pictures traced to different training images, or all to the same few?

    Counts the different training images among the top of all queries, and how many of them are at the top of half of
    the queries or more. Intervals are over queries.

    Example: `whence evaluate specificity scores/`
    """
    from whence.evaluation.ranking.specificity import specificity as measure
    from whence.scores.stored import read_scores

    given, found = read_scores(scores), {}
    different, recurring = f"different images in all top {top}", "share of images in half of them"
    for one in given:
        numbers = measure(one.scores.scores.numpy(), top)
        found[one.name] = {different: numbers.different, recurring: numbers.recurring}
    show_what(given)
    show_measures(by_measure(found, {different: ",.0f", recurring: ".2%"}))
    show_words(WORDS)
