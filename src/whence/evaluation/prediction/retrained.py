"""Methods that need retrained models alone, and other retrained models to be evaluated on than they were fitted on."""

from __future__ import annotations

import numpy as np

from whence.errors import MismatchError
from whence.evaluation.prediction.datamodel import datamodel
from whence.evaluation.prediction.empirical import empirical_influence

#: From subsets bool [S, N] and losses [S, Q] to scores [Q, N], by name.
METHODS = {"empirical-influence": empirical_influence, "datamodel": datamodel}


def require_disjoint(fitted: np.ndarray, measured: np.ndarray) -> None:
    """Check that no subset is in both pools: scores that were fitted on its loss would be told what to predict.

    Args:
        fitted: Which examples each subset keeps, bool [S, N], of the pool that scores were fitted on.
        measured: Of the pool that they are evaluated on, bool [S', N].

    Raises:
        MismatchError: They are of different examples, or share a subset.

    Example:
        >>> require_disjoint(np.array([[True, False]]), np.array([[False, True]]))
    """
    if fitted.shape[1:] != measured.shape[1:]:
        raise MismatchError(
            f"The pools are of {fitted.shape[1:]} and {measured.shape[1:]} examples; give two of one bank."
        )
    known = {row.tobytes(): s for s, row in enumerate(fitted)}
    shared = [(known[row.tobytes()], s) for s, row in enumerate(measured) if row.tobytes() in known]
    if shared:
        first, second = shared[0]
        raise MismatchError(
            f"{len(shared)} subsets are in both pools (subset {first} of the one fitted on is subset {second} of the "
            "other), so the scores would be evaluated on what they were fitted to. Use pools of other subsets."
        )
