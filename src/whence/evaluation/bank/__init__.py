"""The bank: models retrained on recorded subsets and measured, the ground truth of evaluation."""

from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.base import build_bank, measure_references
from whence.evaluation.bank.build import PoolRequest, build_pool, usual_pools
from whence.evaluation.bank.pool import Pool
from whence.evaluation.bank.request import BankConfig
from whence.evaluation.bank.retrain import Retraining

__all__ = [
    "Bank",
    "BankConfig",
    "Pool",
    "PoolRequest",
    "Retraining",
    "build_bank",
    "build_pool",
    "measure_references",
    "usual_pools",
]
