"""The bank: models that are retrained on recorded subsets and measured, the ground truth of evaluation."""

from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.bank_request import BankConfig
from whence.evaluation.bank.make_bank import build_bank, build_pool, measure_references
from whence.evaluation.bank.pool import Pool, PoolRequest, usual_pools

__all__ = ["Bank", "BankConfig", "Pool", "PoolRequest", "build_bank", "build_pool", "measure_references", "usual_pools"]
