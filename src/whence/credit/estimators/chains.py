"""Orders of contributors in which clusters stay together, as the coalitions of those who came so far."""

from __future__ import annotations

import numpy as np

from whence.credit.coalitions import with_complements
from whence.credit.estimators.rows import multiplicities
from whence.credit.game import Game
from whence.errors import ConfigError, DataError


def chains(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the beginnings of random orders of U players in which clusters stay together, each with its reverse.

    Args:
        cluster: Number of each player's cluster, from 0, int [U].
        count: Coalitions there is room for.
        seed: Of the orders; a prefix of a longer design is the shorter one.

    Returns:
        Coalitions, bool [P x 2 (U - 1), U] for P orders: of each, those who came first, from 1 to U - 1 of them,
        followed each by its complement, which is a beginning of the reverse order.

    Raises:
        ConfigError: There isn't room for one order.

    Example:
        >>> chains(np.array([0, 0, 1]), 4, seed=0).astype(int).tolist()
        [[0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0]]
    """
    players = len(cluster)
    orders = count // (2 * (players - 1))
    if orders < 1:
        raise ConfigError(
            f"Owen values of {players} contributors need at least {2 * (players - 1)} coalitions, given {count}."
        )
    clusters = int(cluster.max()) + 1
    uniform = np.random.default_rng(seed).random((orders, clusters + players))
    order = np.lexsort((uniform[:, clusters:], uniform[:, cluster]), axis=-1)
    came_first = order.argsort(1)[:, None] < np.arange(1, players)[:, None]
    return with_complements(came_first.reshape(-1, players))


def marginals(cluster: np.ndarray, game: Game, weights: np.ndarray | None) -> np.ndarray:
    """Return what each contributor adds to those before it, the mean over the orders of a game.

    Args:
        cluster: Number of each player's cluster, from 0, int [U].
        game: Values of coalitions from `chains`, in that order.
        weights: Multiplicities of the coalitions, [M], alike for those of an order; 1 by default.

    Returns:
        Shares, float64 [B, U].

    Raises:
        DataError: The coalitions aren't those of such orders, or none has any weight.
    """
    players = len(cluster)
    if players < 2 or len(game.coalitions) % (2 * (players - 1)) or not len(game.coalitions):
        raise DataError(_NOT_CHAINS.format(players=players, rows=2 * (players - 1)))
    rows, values = (_by_order(one, players) for one in (game.coalitions, game.values))
    ends = np.zeros((len(rows), 1, players), bool)
    came = np.diff(np.concatenate([ends, rows, ~ends], axis=1).astype(int), axis=1)
    joined = cluster[came.argmax(2)]
    together = (np.diff(joined, axis=1) != 0).sum(1) == cluster.max()
    if ((came != 0).sum(2) != 1).any() or (came < 0).any() or not together.all():
        raise DataError(_NOT_CHAINS.format(players=players, rows=2 * (players - 1)))
    none, everybody = (np.broadcast_to(one, (len(rows), 1, len(one))) for one in (game.none, game.all))
    added = np.diff(np.concatenate([none, values, everybody], axis=1), axis=1)
    weight = _by_order(multiplicities(game, weights)[:, None], players).mean((1, 2))
    if not weight.sum() > 0:
        raise DataError("No order of the contributors has any weight.")
    found: np.ndarray = np.einsum("o,ojb,oju->bu", weight / weight.sum(), added, came, optimize=True)
    return found


_NOT_CHAINS = (
    "These coalitions are not those of whole orders of {players} contributors with these clusters ({rows} rows for an "
    "order and its reverse); measure the coalitions that this estimator asks for, and keep their order."
)


def _by_order(rows: np.ndarray, players: int) -> np.ndarray:
    """Return rows for coalitions, [P x 2 (U - 1), ...], by order and number of those who came, [2P, U - 1, ...]."""
    paired = rows.reshape(-1, players - 1, 2, rows.shape[1])
    both = np.stack([paired[:, :, 0], paired[:, ::-1, 1]], axis=1)
    return both.reshape(-1, players - 1, rows.shape[1])
