"""What the ends of scores cost beside the features: memory that does not depend on the number of examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.method import Method
from whence.attribution.term_blocks import PER_NUMBER, groups_together, row_blocks
from whence.gradients.features import Feature
from whence.kernel.algebra import BLOCK
from whence.kernel.moments import Moments
from whence.scores.jackknife import GROUPS

#: Bytes of a score that is kept: in memory with those without each group of draws, and on disk.
KEPT_MEMORY, KEPT_DISK = 8 * (2 + 2 * GROUPS), 64
#: Bytes of a number of a block's sums: as they are on disk, and means and products of one group at a time.
PER_SUM = 6


def top_bytes(plan: FeaturePlan, widths: Sequence[Sequence[int]], top: int) -> tuple[int, int]:
    """Return the bytes in memory and on disk of K scores at each end of every query by all methods of a plan.

    Args:
        plan: The plan.
        widths: Number of features of every layer, of every model.
        top: K.
    """
    kept = _kept_count(plan, top)
    on_disk = KEPT_DISK * kept
    for method, terms in plan.curved.terms.items():  # whose scores of all examples are on disk, in single precision
        pairs = len(plan.query_ids(method)) * len(plan.request.examples)
        on_disk += 4 * (1 + GROUPS) * pairs * len(terms)
    most = max(widths, key=sum, default=())
    return _kernel_memory(plan, most) + KEPT_MEMORY * kept, on_disk


def _kept_count(plan: FeaturePlan, top: int) -> int:
    """Return how many scores are kept by all methods of a plan, of examples and of units."""
    own = {name for names in plan.request.units for name in names}
    units = 0 if len(own) == len(plan.request.examples) else len(own)
    ends = min(top, len(plan.request.examples))
    return sum(len(plan.query_ids(m)) * ((2 if m.signed else 1) * ends + units) for m in plan.terms)


def _kernel_memory(plan: FeaturePlan, widths: Sequence[int]) -> int:
    """Return the bytes of the kernels that are in memory together, and of a block of examples."""
    parts: dict[tuple[object, Feature], int] = {}
    for method, terms in plan.compressed.terms.items():
        needed = PER_NUMBER * kernel_numbers(method, widths)
        for term in terms:
            parts[term, method.feature] = max(needed, parts.get((term, method.feature), 0))
    if not parts:
        return 0
    width = sum(widths)
    rows = len(row_blocks(BLOCK, width)[0])
    kernels = max(sum(parts.values()), groups_together(width) * max(parts.values()))
    return kernels + PER_SUM * GROUPS * rows * width


def kernel_numbers(method: Method, widths: Sequence[int]) -> int:
    """Return how many numbers the Gram matrices have that a method asks for: of all features, of each layer, or none.

    Example:
        >>> from whence.attribution.methods import METHODS
        >>> [kernel_numbers(METHODS[name], (3, 4)) for name in ("trak", "tangent", "gradient-dot")]
        [49, 25, 0]
    """
    asked: set[tuple[int, ...]] = set()

    def moments(parts: tuple[int, ...]) -> tuple[Moments, ...]:
        asked.add(parts)
        return tuple(Moments.of(torch.ones(width, width)) for width in parts)

    one = torch.ones(1, 2)
    method.function(FeaturePair(one, one, torch.ones(1), (1, 1), moments=moments), method.damping)
    whole, layers = sum(widths) ** 2, sum(width**2 for width in widths)
    return sum(whole if parts == (2,) else layers for parts in asked)
