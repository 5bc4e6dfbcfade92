"""The examples at the top of each query's scores."""

from __future__ import annotations

import numpy as np

from whence.errors import ConfigError, DataError


def top_columns(scores: np.ndarray, top: int) -> np.ndarray:
    """Return the columns of the `top` largest scores of every query, largest first, int [Q, top].

    Of equal scores the one in the lower column comes first.

    Raises:
        DataError: The scores are not [Q, N] with queries and examples, or one is NaN.
        ConfigError: There are fewer examples.

    Example:
        >>> top_columns(np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]]), 2).tolist()
        [[1, 2], [0, 1]]
    """
    require_scores(scores)
    if not 1 <= top <= scores.shape[1]:
        raise ConfigError(f"The top is from 1 to {scores.shape[1]:,} examples, as many as there are; given {top}.")
    columns: np.ndarray = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return columns


def require_scores(scores: np.ndarray) -> None:
    """Check that scores can be ranked.

    Raises:
        DataError: They are not [Q, N] with queries and examples, or one is NaN.
    """
    if scores.ndim != 2 or 0 in scores.shape or np.isnan(scores).any():
        raise DataError(f"Scores of at least one query and example are ranked, none of them NaN; given {scores.shape}.")
