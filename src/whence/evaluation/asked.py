"""Which of a bank's queries are asked about: how they came to be, and what they are for."""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Kind(StrEnum):
    """How a query came to be."""

    HELD_OUT = "held-out"
    DRAWN = "drawn"


class Use(StrEnum):
    """What a query is for: figures that are reported, or the choice of knobs."""

    REPORTED = "reported"
    DEVELOPMENT = "development"


def asked(drawn: np.ndarray, development: np.ndarray, kind: Kind, use: Use) -> np.ndarray:
    """Return which queries are of a kind and for a use, bool [Q].

    Args:
        drawn: Whether the model drew the query, bool [Q].
        development: Whether knobs may be chosen on it, bool [Q].
        kind: Held out or drawn.
        use: Reported or development.

    Returns:
        The queries that are both.

    Example:
        >>> drawn, development = np.array([False, False, True, True]), np.array([True, False, True, False])
        >>> asked(drawn, development, Kind.DRAWN, Use.REPORTED).tolist()
        [False, False, False, True]
    """
    found: np.ndarray = (drawn == (kind is Kind.DRAWN)) & (development == (use is Use.DEVELOPMENT))
    return found
