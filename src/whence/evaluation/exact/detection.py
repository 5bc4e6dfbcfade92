"""Are the units that rise above placebos ranked before the others?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from whence.errors import DataError
from whence.evaluation.ranking.top import require_scores, top_columns
from whence.statistics.agreement import TOP


@dataclass(frozen=True, eq=False)
class Detection:
    """How scores rank the units above placebos; NaN for queries where no unit is above placebos, or every unit.

    Attributes:
        recalls: Units above placebos that are in the top k, divided by how many can be there, float64 [Q].
        areas: Area under the ROC curve, float64 [Q]: the chance that a unit above placebos has a larger score than
            another unit; a tie counts half. 1 is perfect, 1/2 is chance.
        chance: Mean of the recalls of a random ranking; NaN without such queries.
    """

    recalls: np.ndarray
    areas: np.ndarray
    chance: float


def detection(scores: np.ndarray, above: np.ndarray, top: int = TOP) -> Detection:
    """Return how scores rank the units that rise above placebos.

    With n of U units above placebos: recall = |top k and above| / min(k, n), by chance k n / (U min(k, n)); area =
    (sum of their ranks - n (n + 1) / 2) / (n (U - n)), the Mann-Whitney statistic.

    Args:
        scores: Larger is more, [Q, U].
        above: Whether a unit rises above placebos, bool [Q, U].
        top: k; at most the number of units.

    Raises:
        DataError: The shapes differ, there is no query or unit, or a score is NaN.

    Example:
        >>> scores = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
        >>> result = detection(scores, scores[:1] == [[4, 0, 0, 1], [0, 0, 0, 0]], top=2)
        >>> result.recalls.tolist(), result.areas.tolist(), result.chance
        ([0.5, nan], [0.5, nan], 0.5)
    """
    require_scores(scores)
    if above.shape != scores.shape:
        raise DataError(f"Scores {scores.shape} and units above placebos {above.shape} must be of the same shape.")
    units, number = scores.shape[1], above.sum(1)
    top, others = min(top, units), units - number
    defined = (number > 0) & (others > 0)
    fit = np.where(defined, np.minimum(top, number), np.nan)
    hits = np.take_along_axis(above, top_columns(scores, top), 1).sum(1)
    over = (rankdata(scores, axis=1) * above).sum(1) - number * (number + 1) / 2
    areas = np.divide(over, number * others, out=np.full(len(scores), np.nan), where=defined)
    chance = (top * number / units / fit)[defined]
    return Detection(hits / fit, areas, float(chance.mean()) if len(chance) else np.nan)
