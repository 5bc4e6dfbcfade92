"""The methods of a folder of scores: what each estimates, and how far they agree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from whence.report.scores.cards import QueryCard
from whence.report.scores.shares import percent
from whence.report.words import counted
from whence.scores.scores import Scores
from whence.statistics.agreement import TOP, agreement


@dataclass(frozen=True)
class MethodRow:
    """A method in words.

    Attributes:
        name: Its name.
        values: What it estimates, by title.
        outcome: For how many queries something rises above noise; empty without standard errors.
    """

    name: str
    values: Mapping[str, str]
    outcome: str


@dataclass(frozen=True)
class Pair:
    """How two methods agree, on average over queries; in words.

    Attributes:
        names: The methods.
        correlation: Spearman's rank correlation over examples.
        shared: Share of the top examples of one that are among those of the other.
    """

    names: tuple[str, str]
    correlation: str
    shared: str


def method_rows(methods: Mapping[str, Scores], cards: Sequence[QueryCard]) -> Iterator[MethodRow]:
    """Every method in words, with what came of it on these cards."""
    for k, (name, scores) in enumerate(methods.items()):
        counts = [found for card in cards if (found := card.answers[k].rises) is not None]
        some = sum(map(bool, counts))
        outcome = f"Something rises above noise for {some:,} of {len(counts):,} queries" if counts else ""
        median = f", in the median {median_low(counts):,} of {len(scores.examples):,} examples" if some else ""
        estimand = scores.estimand
        yield MethodRow(
            name,
            {
                "Explains": estimand.behaviour,
                "Imagined change": estimand.intervention,
                "Training": estimand.process,
                "Sign": scores.sign,
                "Draws": counted(scores.draws, "draw") if scores.draws else "none",
            },
            outcome + median,
        )


def pairs(methods: Mapping[str, Scores]) -> list[Pair]:
    """How every two methods agree, from those that agree most; empty where there is one method or one example."""
    queries = next(iter(methods.values())).queries
    if len(next(iter(methods.values())).examples) < 2:
        return []
    found = []
    for (a, first), (b, second) in itertools.combinations(methods.items(), 2):
        both = agreement(queries, first.scores.double().numpy(), second.scores.double().numpy())
        defined = both.correlations[~np.isnan(both.correlations)]
        mean = float(defined.mean()) if len(defined) else float("nan")
        found.append((mean, Pair((a, b), _signed(mean), percent(float(both.recalls.mean())))))
    ranked = sorted(found, key=lambda one: -one[0] if one[0] == one[0] else np.inf)
    return [pair for _, pair in ranked]


def top_of(count: int) -> tuple[int, str]:
    """How many of the top examples are compared, and what share two random rankings have in common."""
    top = min(TOP, count)
    return top, percent(top / count)


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
