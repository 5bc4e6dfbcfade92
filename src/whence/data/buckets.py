"""Aspect buckets: the shapes that kohya's trainer scales and crops images to, all of about one area."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

Shape = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class Buckets:
    """The buckets of a resolution.

    A bucket of width w has the largest height h, a multiple of the step, with w h at most the area of the resolution;
    and the other way round. An image goes into that of the nearest aspect ratio w / h. Without upscaling there are no
    fixed shapes: an image of a larger area is scaled so that one side is a multiple of the step, that which keeps its
    aspect ratio better, and then its sides are cut to multiples of the step.

    Attributes:
        resolution: Width and height, whose product is the area.
        smallest: Smallest side.
        largest: Largest side.
        step: What sides are multiples of.
        no_upscale: Whether small images stay as they are.

    Example:
        >>> buckets = Buckets((512, 512))
        >>> buckets.of((800, 800)), buckets.of((640, 480)), buckets.of((300, 900))
        ((512, 512), (576, 448), (256, 832))
    """

    resolution: Shape
    smallest: int = 256
    largest: int = 1024
    step: int = 64
    no_upscale: bool = False

    @property
    def area(self) -> int:
        """Width times height."""
        return self.resolution[0] * self.resolution[1]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes, in ascending order."""
        square = math.isqrt(self.area) // self.step * self.step
        found = {(square, square)}
        for width in range(self.smallest, self.largest + 1, self.step):
            height = min(self.largest, self.area // width // self.step * self.step)
            if height >= self.smallest:
                found |= {(width, height), (height, width)}
        return tuple(sorted(found))

    def of(self, size: Shape) -> Shape:
        """Return the shape that an image of a width and height becomes."""
        width, height = size
        if self.no_upscale:
            return self._cut(width, height)
        if size in self.shapes:
            return size
        return min(self.shapes, key=lambda shape: abs(shape[0] / shape[1] - width / height))

    def count(self, sizes: Iterable[Shape]) -> dict[Shape, int]:
        """Return how many images of these sizes become each shape, the most frequent first."""
        counts: dict[Shape, int] = {}
        for size in sizes:
            shape = self.of(size)
            counts[shape] = counts.get(shape, 0) + 1
        return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))

    def _cut(self, width: int, height: int) -> Shape:
        """The shape of an image that is never enlarged."""
        if width * height > self.area:
            ratio = width / height
            wide = math.sqrt(self.area * ratio)
            by_width, by_height = self._floor(wide), self._floor(self.area / wide)
            ratios = by_width / self._floor(by_width / ratio), self._floor(by_height * ratio) / by_height
            if abs(ratios[0] - ratio) < abs(ratios[1] - ratio):
                width, height = by_width, int(by_width / ratio + 0.5)
            else:
                width, height = int(by_height * ratio + 0.5), by_height
        return self._floor(width), self._floor(height)

    def _floor(self, side: float) -> int:
        """The multiple of the step at or below a side, that is rounded first; at least one step."""
        return max(self.step, int(side + 0.5) // self.step * self.step)
