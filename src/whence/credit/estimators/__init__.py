"""Estimators of shares; a new one is one file, and one line here."""

from whence.credit.estimators.estimator import Estimator, EstimatorFacts, score_sum
from whence.credit.estimators.owen import OWEN, owen
from whence.credit.estimators.semivalues import ADD_ONE_IN, BANZHAF, LEAVE_ONE_OUT
from whence.credit.estimators.shapley import SHAPLEY

#: Estimators by name, in the order of reports; `owen` makes one for given clusters.
ESTIMATORS: dict[str, Estimator] = {one.name: one for one in (SHAPLEY, OWEN, BANZHAF, LEAVE_ONE_OUT, ADD_ONE_IN)}


def estimator_facts(name: str) -> EstimatorFacts | None:
    """Return what is known of shares by the name of their estimator, as in `shapley` or `sum-d-trak`; None if nothing.

    Example:
        >>> estimator_facts("sum-trak").title, estimator_facts("beauty contest")
        ('Sum of scores: trak', None)
    """
    return score_sum(name.removeprefix("sum-")) if name.startswith("sum-") else ESTIMATORS.get(name)


__all__ = [
    "ADD_ONE_IN",
    "BANZHAF",
    "ESTIMATORS",
    "LEAVE_ONE_OUT",
    "OWEN",
    "SHAPLEY",
    "Estimator",
    "EstimatorFacts",
    "estimator_facts",
    "owen",
    "score_sum",
]
