"""Deletion: does removing what a method names for a query hurt that query more than removing at random?"""

from whence.evaluation.deletion.delete import carry_out, delete, measured_deletion, missing_runs, zero_of
from whence.evaluation.deletion.deletion import Deletion
from whence.evaluation.deletion.effect import Effect, effect, harm
from whence.evaluation.deletion.figures import Comparison, Figures
from whence.evaluation.deletion.wanted import Wanted, top_count

__all__ = [
    "Comparison",
    "Deletion",
    "Effect",
    "Figures",
    "Wanted",
    "carry_out",
    "delete",
    "effect",
    "harm",
    "measured_deletion",
    "missing_runs",
    "top_count",
    "zero_of",
]
