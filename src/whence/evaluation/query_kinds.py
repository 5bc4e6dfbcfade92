"""Kinds of a bank's queries: how a query came to be, and what it may be used for."""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Kind(StrEnum):
    """How a query came to be."""

    HELD_OUT = "held-out"
    DRAWN = "drawn"


class Use(StrEnum):
    """What a query may be used for: for figures that are reported, or to choose settings."""

    REPORTED = "reported"
    DEVELOPMENT = "development"


def query_mask(drawn: np.ndarray, development: np.ndarray, kind: Kind, use: Use) -> np.ndarray:
    """Return which queries are of a kind and for a use, bool [Q].

    Args:
        drawn: Whether the model drew the query, bool [Q].
        development: Whether the query is for choosing settings, bool [Q].
        kind: Held out or drawn.
        use: Reported or development.

    Example:
        >>> drawn, development = np.array([False, False, True, True]), np.array([True, False, True, False])
        >>> query_mask(drawn, development, Kind.DRAWN, Use.REPORTED).tolist()
        [False, False, False, True]
    """
    mask: np.ndarray = (drawn == (kind is Kind.DRAWN)) & (development == (use is Use.DEVELOPMENT))
    return mask
