"""Estimators of shares, one per file."""

from whence.credit.estimators.add_one_in import ADD_ONE_IN
from whence.credit.estimators.banzhaf import BANZHAF
from whence.credit.estimators.estimator import Estimator
from whence.credit.estimators.leave_one_out import LEAVE_ONE_OUT
from whence.credit.estimators.owen import OWEN, owen
from whence.credit.estimators.shapley import SHAPLEY

#: Estimators by name; `owen` makes one for given clusters.
ESTIMATORS: dict[str, Estimator] = {one.name: one for one in (SHAPLEY, BANZHAF, LEAVE_ONE_OUT, ADD_ONE_IN, OWEN)}

__all__ = ["ADD_ONE_IN", "BANZHAF", "ESTIMATORS", "LEAVE_ONE_OUT", "OWEN", "SHAPLEY", "Estimator", "owen"]
