"""Deletion: does removing what a method names for a query hurt that query more than removing at random?"""

from whence.evaluation.deletion.deletion import Deletion
from whence.evaluation.deletion.effect import DeletionComparison, DeletionEffects, Effect, effect, harm
from whence.evaluation.deletion.make_deletion import (
    measure_removals,
    missing_retrainings,
    read_deletion,
    read_random_baseline,
)
from whence.evaluation.deletion.removal import Removal, top_count

__all__ = [
    "Deletion",
    "DeletionComparison",
    "DeletionEffects",
    "Effect",
    "Removal",
    "effect",
    "harm",
    "measure_removals",
    "missing_retrainings",
    "read_deletion",
    "read_random_baseline",
    "top_count",
]
