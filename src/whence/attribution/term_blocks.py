"""The features of a term in blocks of examples, each with the kernel of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import torch

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.term_features import TermFeatures, layer_squares
from whence.errors import ConfigError
from whence.gradients.features import Sums
from whence.kernel.algebra import BLOCK, weighted
from whence.kernel.moments import Moments
from whence.scores.jackknife import GROUPS

#: Most numbers in the sums of a block of examples.
VALUES = 2**25
#: Most bytes of the kernels that are in memory together; one kernel at least.
KERNELS = 2**31
#: Bytes of a number of a kernel: in the Gram matrix and in its factor.
PER_NUMBER = 16


class TermBlocks:
    """Features of a term from all draws and without some groups of them, one block of examples at a time.

    A method gets a block as a `FeaturePair` whose kernels are made from the moments of all examples. These are summed
    over all blocks when the first method asks for them, for all groups in one reading.
    """

    def __init__(self, features: TermFeatures, groups: Sequence[int | None]) -> None:
        self._features, self._groups = features, tuple(groups)
        self._queries = {group: features.query_means(group) for group in self._groups}
        self._moments: dict[tuple[int, ...], dict[int | None, tuple[Moments, ...]]] = {}

    def pairs(self, rows: range) -> Iterator[tuple[int | None, FeaturePair]]:
        """Yield the pair of a block of examples, in the order of their ids, for every group that is left out."""
        block, widths = self._features.examples.block(rows), self._features.examples.widths
        for group in self._groups:
            moments = partial(self._moments_of, group)
            examples, losses, units = block.mean(group), block.loss(group), self._units[group]
            yield group, FeaturePair(examples, self._queries[group], losses, widths, units=units, moments=moments)

    def _moments_of(self, group: int | None, widths: tuple[int, ...]) -> tuple[Moments, ...]:
        """Return the moments of all examples in parts of so many features."""
        if widths not in self._moments:
            require_room(widths)
            self._moments[widths] = {one: tuple(map(Moments.zeros, widths)) for one in self._groups}
            for rows, block in self._blocks():
                weights = None if self._features.weights is None else self._features.weights[rows.start : rows.stop]
                for one, moments in self._moments[widths].items():
                    parts = torch.split(weighted(block.mean(one), weights), list(widths), 1)
                    for of_part, part in zip(moments, parts, strict=True):
                        of_part.add(part)
        return self._moments[widths][group]

    @cached_property
    def _units(self) -> dict[int | None, tuple[float, ...]]:
        """λ of every layer at the damping 1, for every group; empty tuples where it is no ridge of a training."""
        features, count = self._features, self._features.examples.count
        if features.ridge is None:
            return dict.fromkeys(self._groups, ())
        widths = features.examples.widths
        sums = {group: torch.zeros(1 + len(widths), dtype=torch.float64) for group in self._groups}
        for _, block in self._blocks():
            for group, total in sums.items():
                squares = layer_squares(block.mean(group), widths)
                total += torch.tensor([float(block.loss(group).double().sum()), *squares], dtype=torch.float64)
        return {g: features.units(total[1:].tolist(), float(total[0]) / count, g) for g, total in sums.items()}

    def _blocks(self) -> Iterator[tuple[range, Sums]]:
        features = self._features.examples
        for rows in row_blocks(features.count, sum(features.widths)):
            yield rows, features.block(rows)


def row_blocks(count: int, width: int, most: int = BLOCK) -> list[range]:
    """Return the blocks of so many examples of p features: `most` rows, or fewer of many features.

    Example:
        >>> row_blocks(1500, 4096), row_blocks(3, 10**7)
        ([range(0, 1024), range(1024, 1500)], [range(0, 1), range(1, 2), range(2, 3)])
    """
    rows = 1 << max(0, min(most, VALUES // (GROUPS * width)).bit_length() - 1)
    return [range(first, min(first + rows, count)) for first in range(0, count, rows)]


def groups_together(width: int) -> int:
    """Return for how many groups of draws the kernels of p features are in memory together.

    Example:
        >>> groups_together(512), groups_together(4096), groups_together(8192)
        (8, 8, 2)
    """
    return max(1, min(GROUPS, KERNELS // (PER_NUMBER * width**2)))


def require_room(widths: Sequence[int]) -> None:
    """Check that a kernel of parts of so many features fits into the memory that is meant for kernels.

    Raises:
        ConfigError: It does not.
    """
    needed = PER_NUMBER * sum(width**2 for width in widths)
    if needed > 2 * KERNELS:
        raise ConfigError(
            f"The kernel of {sum(widths):,} features would take {needed / 2**30:,.0f} GiB. Give a smaller --width, or "
            "leave --top out: where there are fewer examples than features, the whole matrix of scores takes less."
        )
