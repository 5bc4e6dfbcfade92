"""The bank: models that are retrained on recorded subsets and measured, the ground truth of evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.lazy import attribute_reader, homes

_HOMES = homes(
    __name__,
    {
        "bank": "Bank",
        "bank_request": "BankConfig",
        "make_bank": "build_bank build_pool measure_references",
        "pool": "Pool PoolRequest usual_pools",
    },
)
__all__ = sorted(_HOMES)
__getattr__ = attribute_reader(__name__, _HOMES)

if TYPE_CHECKING:
    from whence.evaluation.bank.bank import Bank as Bank
    from whence.evaluation.bank.bank_request import BankConfig as BankConfig
    from whence.evaluation.bank.make_bank import build_bank as build_bank
    from whence.evaluation.bank.make_bank import build_pool as build_pool
    from whence.evaluation.bank.make_bank import measure_references as measure_references
    from whence.evaluation.bank.pool import Pool as Pool
    from whence.evaluation.bank.pool import PoolRequest as PoolRequest
    from whence.evaluation.bank.pool import usual_pools as usual_pools
