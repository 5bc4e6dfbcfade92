"""Estimators: how shares are computed from a game, which coalitions that needs, and what is known of the shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whence.credit.game import Game


class Shares(Protocol):
    """The shares of a game, float64 [B, U]."""

    def __call__(self, game: Game, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the shares; weights [M] say how often each coalition counts (once)."""


@dataclass(frozen=True, kw_only=True)
class EstimatorFacts:
    """What is known of shares, for reports and audits.

    Attributes:
        name: Name on the command line.
        title: In words.
        meaning: What a share is, in words that go on from "A share is"; empty where nothing is said.
        replication: The total of a contributor that hands in the same examples under k names, divided by its total
            under one name, as a function of k; None where it depends on the game or is not known.
        replicated_totals: The totals [B, U] of contributors under k names each, from the game and k; None where
            `replication` tells, or they are not known.
        split_invariant: Whether no split of a contributor's examples among several names changes its total.
    """

    name: str
    title: str
    meaning: str = ""
    replication: Callable[[int], float] | None = None
    replicated_totals: Callable[[Game, int], np.ndarray] | None = None
    split_invariant: bool = False


@dataclass(frozen=True, kw_only=True)
class Estimator(EstimatorFacts):
    """An estimator of shares.

    Attributes:
        paper: Its source.
        efficient: Whether shares add up to v(all) - v(∅) by construction.
        coalitions: The coalitions it needs, (players, count, seed) -> bool [M, U]: at most `count`, or always the same.
        shares: The shares, (game, weights) -> float64 [B, U], in the unit of v and linear in the values of the game.
            Weights [M] are multiplicities, not below 0; where a game has all coalitions, they only weigh repeats of the
            same coalition.
        drawn: How many rows of a game, one after another, were drawn as one; None where the coalitions of the game are
            no draw (all that there are, or always the same), so that shares are off only because values are.
    """

    paper: str
    efficient: bool
    coalitions: Callable[[int, int, int], np.ndarray]
    shares: Shares
    drawn: Callable[[Game], int | None]


def score_sum(method: str) -> EstimatorFacts:
    """Return what is known of sums of the scores of a method, which need no game.

    Equal examples have equal scores, so totals grow with the number of copies, if the model and all other scores stay
    as they are.
    """
    return EstimatorFacts(
        name=f"sum-{method}",
        title=f"Sum of scores: {method}",
        meaning=f"the sum of what the method {method} estimates for each of a contributor’s training pictures",
        replication=float,
        split_invariant=True,
    )
