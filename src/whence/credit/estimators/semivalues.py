"""Banzhaf values by least squares; leave-one-out and add-one-in, which need one coalition for each contributor."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import add_one_in, banzhaf_coalitions, leave_one_out
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.shapley import least_squares, row_weights
from whence.credit.game import Game, drawn_in_pairs, values_of
from whence.errors import DataError


def banzhaf_shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Banzhaf values [B, U]: what a contributor adds on average over all coalitions of the others.

        β = argmin_{β, c} Σ_S (v(S) - c - Σ_u (1[u in S] - 1/2) β_u)²  over all 2^U coalitions S

    (Hammer & Holzman 1992). Nobody and everybody have their known values and their weight of 2^-U each; the others are
    all coalitions, or were drawn by `banzhaf_coalitions`. Too few to determine the shares are a DataError.

    Example:
        >>> glove = lambda inside: float(min(inside[0], inside[1] or inside[2]))  # one left glove, two right ones
        >>> game = Game.of_function(("a", "b", "c"), banzhaf_coalitions(3, 6, seed=0), glove)
        >>> banzhaf_shares(game).round(6).tolist()
        [[0.75, 0.25, 0.25]]
    """
    players = len(game.players)
    known = 2.0**-players
    weighed = (1 - 2 * known) * row_weights(game, weights, np.ones_like)
    ends = np.stack([np.zeros(players), np.ones(players)])
    inside = np.concatenate([game.coalitions.astype(float), ends])
    design = np.column_stack([inside - 0.5, np.ones(len(inside))])
    target = np.concatenate([game.values, game.none[None], game.all[None]])
    shares: np.ndarray = least_squares(design, target, np.concatenate([weighed, [known, known]]), players)[:-1].T
    return shares


def leave_one_out_shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return v(all) - v(all without u) [B, U]; the mean over repeats of the same coalition."""
    without = _value_for_each(game, leave_one_out(len(game.players)), weights, "without")
    shares: np.ndarray = (game.all - without).T
    return shares


def add_one_in_shares(game: Game, weights: np.ndarray | None = None) -> np.ndarray:
    """Return v({u}) - v(∅) [B, U]; the mean over repeats of the same coalition."""
    alone = _value_for_each(game, add_one_in(len(game.players)), weights, "of only")
    shares: np.ndarray = (alone - game.none).T
    return shares


def _value_for_each(game: Game, coalitions: np.ndarray, weights: np.ndarray | None, word: str) -> np.ndarray:
    """Return the value [U, B] of each contributor's coalition, bool [U, U]; messages call it "model `word` NAME"."""
    values = values_of(game, coalitions, weights)
    missing = [name for name, row in zip(game.players, values, strict=True) if np.isnan(row).any()]
    if missing:
        raise DataError(
            f"The model {word} {missing[0]} was not measured ({len(missing)} of {len(coalitions)} such models are "
            "missing); measure the coalitions that this estimator asks for."
        )
    return values


BANZHAF = Estimator(
    name="banzhaf",
    title="Banzhaf value",
    paper="Hammer & Holzman 1992; Wang & Jia 2023 (arXiv:2205.15466)",
    efficient=False,
    coalitions=banzhaf_coalitions,
    shares=banzhaf_shares,
    drawn=drawn_in_pairs,
    meaning="the average difference that a contributor makes to a random half of the others (Banzhaf value)",
    replication=lambda names: names / 2 ** (names - 1),  # a name counts only without all others
)
LEAVE_ONE_OUT = Estimator(
    name="leave-one-out",
    title="Leave one out",
    paper="Cook 1977 (case deletion)",
    efficient=False,
    coalitions=lambda players, count, seed: leave_one_out(players),
    shares=leave_one_out_shares,
    drawn=lambda game: None,
    meaning="the difference between the model of all contributors and a model of all but this one",
    replication=lambda names: 0.0,  # each copy stands in for the others
)
ADD_ONE_IN = Estimator(
    name="add-one-in",
    title="Add one in",
    paper="the value of a coalition of one",
    efficient=False,
    coalitions=lambda players, count, seed: add_one_in(players),
    shares=add_one_in_shares,
    drawn=lambda game: None,
    meaning="the difference between a model of this contributor alone and a model of nobody",
    replication=float,
)
