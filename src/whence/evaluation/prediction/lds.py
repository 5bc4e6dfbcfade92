"""Linear datamodeling score: do sums of scores predict which training subsets make models of lower loss?

The score of a subset is the sum of the scores of the examples in it. Where scores are true to first order that sum is,
up to a constant, minus the loss of the query under a model trained on the subset. The linear datamodeling score of a
query is Spearman's correlation, over subsets, of the sum with minus the measured loss (Park et al. 2023, TRAK,
arXiv 2303.14186, definition 2.2).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from whence.errors import DataError
from whence.statistics.ranks import spearman_columns


class Form(StrEnum):
    """What is added up over the examples of a subset, s being the score of one of them."""

    #: s, as it is: the scores stay additive.
    PLAIN = "plain"
    #: s times its absolute value: large scores count more.
    SIGNED_SQUARES = "signed-squares"
    #: s squared: the sign is given up (DAS, arXiv 2410.18639).
    SQUARES = "squares"

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return what is added up.

        Example:
            >>> Form.SIGNED_SQUARES(np.array([-3.0, 2.0])).tolist(), Form.SQUARES(np.array([-3.0])).tolist()
            ([-9.0, 4.0], [9.0])
        """
        if self is Form.PLAIN:
            return scores
        squares: np.ndarray = scores * (np.abs(scores) if self is Form.SIGNED_SQUARES else scores)
        return squares


def predictions(kept: np.ndarray, scores: np.ndarray, form: Form = Form.PLAIN) -> np.ndarray:
    """Return what scores predict for every subset: minus its loss, up to a constant and a factor per query, [S, Q].

    The prediction of subset s for query q is the sum over examples n of kept[s, n] f(scores[q, n]), float64. Each
    summand is first rounded to a multiple of about the largest times N / 2^52. So sums are exact in any order, and
    subsets with equal sums are ties.

    Args:
        kept: Which examples each subset keeps, bool [S, N].
        scores: Positive is proponent, [Q, N].
        form: Which function f of a score is added up.

    Returns:
        The predictions: larger is a lower loss.

    Raises:
        DataError: The subsets and the scores are not of equally many examples, or a score is not finite.

    Example:
        >>> kept = np.array([[True, True, False], [False, True, True]])
        >>> predictions(kept, np.array([[1.0, 2.0, -3.0]])).tolist()
        [[3.0], [-1.0]]
        >>> predictions(kept, np.array([[1.0, 2.0, -3.0]]), Form.SIGNED_SQUARES).tolist()
        [[5.0], [-5.0]]
    """
    if kept.ndim != 2 or scores.ndim != 2 or kept.shape[1] != scores.shape[1]:
        raise DataError(f"Subsets [S, N] and scores [Q, N] share their examples; given {kept.shape}, {scores.shape}.")
    if not np.isfinite(scores).all():
        raise DataError("A score is not finite.")
    _, exponent = np.frexp(np.abs(scores).max(1, keepdims=True, initial=0.0))
    scale = np.ldexp(1.0, exponent)
    added = form(scores / scale)
    step = 2.0 ** (kept.shape[1].bit_length() - 52)
    sums: np.ndarray = kept.astype(np.float64) @ (np.round(added / step) * step).T
    sums *= form(scale).T
    return sums


def lds(kept: np.ndarray, scores: np.ndarray, losses: np.ndarray, form: Form = Form.PLAIN) -> np.ndarray:
    """Return the linear datamodeling score of every query, float64 [Q].

    Args:
        kept: Which examples each subset keeps, bool [S, N].
        scores: Positive is proponent, [Q, N].
        losses: Loss of each query under the model of each subset, the mean over its training seeds, [S, Q].
        form: What is added up.

    Returns:
        Between -1 and 1: positive where the scores tell which subsets have the lower loss; NaN where all sums or all
        losses are equal.

    Raises:
        DataError: Shapes don't fit, there are fewer than two subsets, or a value is not finite.

    Example:
        >>> kept = np.array([[True, True, False], [False, True, True], [True, False, True]])
        >>> scores = np.array([[1.0, 2.0, -3.0], [5.0, 5.0, 5.0]])
        >>> lds(kept, scores, losses=10 - kept @ scores.T).tolist()
        [1.0, nan]
    """
    return spearman_columns(predictions(kept, scores, form), -losses)
