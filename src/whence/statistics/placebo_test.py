"""The placebo test, which compares effects of units with effects of code words that no unit has; Holm's correction.

With P placebos the p-value of an effect e is

    p = (1 + number of placebos with an effect at least as large as e) / (1 + P)

Its smallest value is 1 / (1 + P). So a test corrected for F units can name a unit only if F / (1 + P) is at most the
level of the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whence.lazy import special, torch

if TYPE_CHECKING:
    from torch import Tensor

#: Level of the test: the probability that any unit is named wrongly in one picture.
LEVEL = 0.05
#: Placebos that each take work, where none are asked for: at least so many, and at most.
PLACEBOS, MOST = 200, 1000


def placebos_needed(units: int, level: float = LEVEL) -> int:
    """Return how many placebos are needed to name one of U units: the least P with U/(1 + P) <= level.

    Example:
        >>> placebos_needed(10), placebos_needed(1500)
        (199, 29999)
    """
    return int(np.ceil(units / level - 1e-9)) - 1


def default_placebos(units: int) -> int:
    """Return the number of placebos to name one of so many units at the usual error, where that is possible.

    Example:
        >>> default_placebos(10), default_placebos(12), default_placebos(1500)
        (200, 239, 200)
    """
    needed = placebos_needed(units)
    return needed if PLACEBOS < needed <= MOST else PLACEBOS


def p_values(effects: Tensor, placebos: Tensor) -> Tensor:
    """Return (1 + number of placebos at least as large) / (1 + P) of every effect, float64.

    A placebo with an equal effect counts against the unit.
    """
    ascending = torch.sort(placebos).values
    below = torch.searchsorted(ascending, effects.contiguous(), right=False)
    return (1.0 + len(placebos) - below.double()) / (1.0 + len(placebos))


def expected_maximum(values: Tensor, count: int) -> float:
    """Return the expected largest of k values drawn without replacement: Σ_i C(i-1, k-1) / C(n, k) · v_(i), ascending.

    Example:
        >>> round(expected_maximum(torch.tensor([1.0, 2.0, 3.0]), 2), 6)
        2.666667
    """
    if not count:
        return float("nan")
    n, rank = len(values), np.arange(count, len(values) + 1)
    weights = np.exp(_log_choose(rank - 1, count - 1) - _log_choose(np.array([n]), count))
    return float(weights @ torch.sort(values.double()).values.numpy()[count - 1 :] / weights.sum())


def _log_choose(n: np.ndarray, k: int) -> np.ndarray:
    logarithms: np.ndarray = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return logarithms


def holm(p_values: Tensor, count: int | None = None) -> Tensor:
    """Return p-values corrected for their number by Holm's step-down procedure (Holm 1979), in the same order.

    Where they are some of `count` p-values, as if the others were larger: no corrected value is too small.

    Example:
        >>> holm(torch.tensor([0.125, 0.03125, 0.5])).tolist()
        [0.25, 0.09375, 0.5]
        >>> holm(torch.tensor([0.03125, 0.125]), 3).tolist()
        [0.09375, 0.25]
    """
    ascending, order = torch.sort(p_values)
    most = len(p_values) if count is None else count
    steps = torch.arange(most, most - len(p_values), -1)
    corrected = (ascending * steps).cummax(0).values.clamp(max=1.0)
    return torch.empty_like(p_values).scatter_(0, order, corrected)
