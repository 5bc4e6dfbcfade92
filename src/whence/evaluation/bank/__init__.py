"""The bank: models retrained on recorded subsets and measured, the ground truth of evaluation."""

from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.build import BankConfig, build_bank
from whence.evaluation.bank.pool import Pool
from whence.evaluation.bank.retrain import Retraining

__all__ = ["Bank", "BankConfig", "Pool", "Retraining", "build_bank"]
