"""Coalitions: the sets of contributors of which models are made; functions of the number of players, count and seed.

Everybody and nobody are never among them, except in `every`, because a game has their values anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whence.errors import ConfigError

#: The most players all of whose coalitions are listed.
MOST = 20


@dataclass(frozen=True)
class CoalitionSampling:
    """How many models are made for shares.

    Attributes:
        coalitions: Coalitions that are drawn, by estimators that draw them.
        repeats: Training seeds for each coalition.
        seed: Seed of the coalitions.
    """

    coalitions: int = 200
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError if a number is out of range."""
        for name, least in (("coalitions", 1), ("repeats", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is at least {least}, given {getattr(self, name)}.")


def every(players: int) -> np.ndarray:
    """Return all 2^U coalitions of U players, bool [2^U, U]; nobody first, everybody last.

    Raises:
        ConfigError: There are too many players to list their coalitions.

    Example:
        >>> every(2).astype(int).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    if not 0 <= players <= MOST:
        raise ConfigError(f"The coalitions of 0 to {MOST} players can be listed, given {players}; draw some.")
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def proper(players: int) -> np.ndarray:
    """Return all coalitions but nobody and everybody, bool [2^U - 2, U]; row 2k + 1 is the complement of row 2k."""
    _check(players, 1)
    half = every(players)[1 : 2 ** (players - 1)]
    return with_complements(half)


def shapley_coalitions(players: int, count: int, seed: int) -> np.ndarray:
    """Return coalitions for Shapley values, bool [M, U]: a size s with odds 1 / (s (U - s)), then any set of that size.

    So a coalition of size s has the weight of the Shapley kernel (Lundberg & Lee 2017, theorem 2). Row 2k + 1 is the
    complement of row 2k, which has the same odds. A prefix of a longer design is the shorter one. From 2^U - 2 on, all
    coalitions are returned instead, each once, so M = min(count, 2^U - 2).

    Example:
        >>> drawn = shapley_coalitions(20, 100, seed=0)
        >>> drawn.shape, bool((drawn[1::2] == ~drawn[::2]).all())
        ((100, 20), True)
    """
    _check(players, count)
    return _draw(players, count, seed, kernel_odds(players))


def banzhaf_coalitions(players: int, count: int, seed: int) -> np.ndarray:
    """Return coalitions for Banzhaf values, bool [M, U]: each player with probability 1/2; not nobody, not everybody.

    In pairs, with prefixes and with all of them from 2^U - 2 on, as in `shapley_coalitions`.

    Example:
        >>> banzhaf_coalitions(20, 100, seed=0).mean().item()
        0.5
    """
    _check(players, count)
    odds = [math.comb(players, size) / 2**players for size in range(1, players)]
    return _draw(players, count, seed, [0.0, *odds])


def leave_one_out(players: int) -> np.ndarray:
    """Return the coalitions of all but one, bool [U, U]; row u is without player u."""
    _check(players, 1)
    return ~np.eye(players, dtype=bool)


def add_one_in(players: int) -> np.ndarray:
    """Return the coalitions of one, bool [U, U]; row u is player u alone."""
    _check(players, 1)
    return np.eye(players, dtype=bool)


def _draw(players: int, count: int, seed: int, odds: list[float]) -> np.ndarray:
    """Draw sets of sizes with these odds, in pairs; all proper coalitions if there are no more."""
    if count >= 2**players - 2:
        return proper(players)
    # One row of uniform numbers for each pair, so that more pairs leave the first ones as they are.
    uniform = np.random.default_rng(seed).random((-(-count // 2), 1 + players))
    return with_complements(sets(uniform[:, 0], uniform[:, 1:], odds))[:count]


def sets(size: np.ndarray, rank: np.ndarray, odds: list[float]) -> np.ndarray:
    """Return random sets, bool [P, U]: a size s with odds[s], from 0 and up to a factor, then any set of that size.

    Sizes are drawn by the uniform numbers `size` [P], members by `rank` [P, U], infinite for those who are never in.

    Example:
        >>> sets(np.array([0.5, 0.9]), np.array([[0.2, 0.1], [0.2, 0.1]]), [0, 4, 1]).tolist()
        [[False, True], [True, True]]
    """
    chances = np.cumsum(odds) / np.sum(odds)
    sizes = np.searchsorted(chances[:-1], size, side="right")
    inside: np.ndarray = rank.argsort(1).argsort(1) < sizes[:, None]
    return inside


def kernel_odds(players: int) -> list[float]:
    """Return the odds of the sizes 0 to U - 1 of a coalition by the Shapley kernel, 1 / (s (U - s)); 0 for nobody."""
    return [0.0] + [1 / (size * (players - size)) for size in range(1, players)]


def with_complements(rows: np.ndarray) -> np.ndarray:
    """Return each coalition followed by its complement, bool [2M, U]."""
    return np.stack([rows, ~rows], axis=1).reshape(-1, rows.shape[1])


def _check(players: int, count: int) -> None:
    if players < 2:
        raise ConfigError(f"Coalitions are of at least 2 players, given {players}.")
    if count < 1:
        raise ConfigError(f"At least 1 coalition is needed, asked for {count}.")
