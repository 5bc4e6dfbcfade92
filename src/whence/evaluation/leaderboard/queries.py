"""Scores of the bank's reported queries, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from whence.evaluation.asked import Kind
from whence.evaluation.leaderboard.attributions import attributions
from whence.evaluation.leaderboard.board import RANDOM, Board
from whence.evaluation.prediction.aligned import align
from whence.seeds import derived_seed


def reported(board: Board, kinds: Sequence[Kind] = tuple(Kind)) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return of every method the places of the queries in the bank and their scores [Q, N], random scores among them.

    Methods that have queries of one kind alone are left out where both kinds are asked for.
    """
    found = align(board.bank, attributions(board), kinds)
    wanted = [found[kind] for kind in kinds if kind in found]
    names = [name for name in wanted[0].methods if all(name in one.methods for one in wanted)]
    columns = np.concatenate([one.columns for one in wanted])
    scores = {name: np.concatenate([one.methods[name] for one in wanted]) for name in names}
    scores[RANDOM] = random_scores(board, (len(columns), len(board.bank.examples)))
    return {name: (columns, values) for name, values in scores.items()}


def random_scores(board: Board, shape: tuple[int, int], purpose: str = "scores") -> np.ndarray:
    """Return random normal numbers."""
    return np.random.default_rng(derived_seed(board.config.seed, f"random {purpose}")).normal(size=shape)


def by_kind(values: Mapping[Kind, np.ndarray]) -> np.ndarray:
    """Join what is known of each kind of query."""
    return np.concatenate(list(values.values()))
