"""Choosing the damping, on the development pool and the development queries alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from whence.attribution.method import DAMPING, Method
from whence.evaluation.asked import Kind, Use, asked
from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.pool import Pool
from whence.evaluation.prediction.lds import lds
from whence.evaluation.tuning import DEVELOPMENT


def development_lds(bank: Bank, queries: Sequence[str], scores: np.ndarray) -> float:
    """Return what a knob is chosen by: the mean over the kinds of queries of the plain LDS on what is for development.

    Args:
        bank: The bank; nothing of it is looked at but the development pool and queries.
        queries: Ids of the queries, Q.
        scores: [Q, N], examples in the bank's order.
    """
    pool, place, found = bank.pool(DEVELOPMENT), {name: q for q, name in enumerate(queries)}, []
    for kind in Kind:
        wanted = np.flatnonzero(asked(bank.drawn, bank.development, kind, Use.DEVELOPMENT)).tolist()
        columns = [q for q in wanted if bank.queries[q] in place]
        if columns:
            found.append(_mean_lds(pool, columns, scores[[place[bank.queries[q]] for q in columns]]))
    return float(np.mean(found))


def chosen(measured: Mapping[float, float], usual: float) -> float:
    """Return the damping of the largest development LDS, the larger of equal ones; the usual one if none is known.

    Example:
        >>> chosen({0.1: 0.25, 1.0: 0.5, 10.0: 0.5}, usual=0.5), chosen({}, usual=0.5)
        (10.0, 0.5)
    """
    defined = {damping: value for damping, value in measured.items() if np.isfinite(value)}
    return max(defined, key=lambda damping: (defined[damping], damping), default=usual)


def damping_of(one: Method, measured: Mapping[float, float]) -> float:
    """Return the damping of a method on the board.

    A method that states one of its own keeps it: its author looked at more than LDS, as deletions, on data for
    development. For the others it is the one of the largest development LDS.
    """
    return one.damping if one.damping != DAMPING else chosen(measured, one.damping)


def _mean_lds(pool: Pool, columns: list[int], scores: np.ndarray) -> float:
    """Mean LDS over the queries that have one; NaN if none has."""
    values = lds(pool.kept, scores, pool.mean[:, columns])
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan
