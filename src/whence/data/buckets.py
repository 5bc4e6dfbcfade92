"""Aspect buckets: the shapes that kohya's trainer scales and crops images to, all of about one area."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from whence.errors import ConfigError

Shape = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class Buckets:
    """The buckets of a resolution.

    A bucket of width w has the largest height h, a multiple of the step, with w h at most the area of the resolution;
    and the other way round. An image goes into that of the nearest aspect ratio w / h. Without upscaling there are no
    fixed shapes: an image of a larger area is scaled so that one side is a multiple of the step, that which keeps its
    aspect ratio better, and then its sides are cut to multiples of the step.

    An image is scaled by `scale` and then cut to its shape, at both ends alike.

    Attributes:
        resolution: Width and height, whose product is the area.
        smallest: Smallest side.
        largest: Largest side.
        step: What sides are multiples of.
        no_upscale: Whether small images stay as they are.
        single: Whether the resolution itself is the only shape.

    Raises:
        ConfigError: The step is larger than a side of the resolution.

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
    single: bool = False

    def __post_init__(self) -> None:
        if not self.single and self.step > min(self.resolution):
            raise ConfigError(
                f"The sides of buckets are multiples of {self.step}, and the resolution is "
                f"{'x'.join(map(str, self.resolution))}. Give a step of the resolution at most; 64 is usual for 512 "
                "and more."
            )

    @classmethod
    def about(cls, resolution: int, step: int) -> Buckets:
        """Return the buckets of about resolution² pixels, with sides from half of it to twice it.

        Of 512 and the step 64 they are those that the trainer has where nothing is said.
        """
        return cls((resolution, resolution), max(step, resolution // 2 // step * step), 2 * resolution, step)

    @property
    def area(self) -> int:
        """Width times height."""
        return self.resolution[0] * self.resolution[1]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes, in ascending order."""
        if self.single:
            return (self.resolution,)
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
            scaled = self._reduced(width, height)
            return self._floor(scaled[0]), self._floor(scaled[1])
        if size in self.shapes:
            return size
        return min(self.shapes, key=lambda shape: abs(shape[0] / shape[1] - width / height))

    def scale(self, size: Shape) -> float:
        """Return the factor by which an image of a width and height is scaled before it is cut to its shape.

        Example:
            >>> Buckets((512, 512)).scale((1000, 1000)), Buckets((512, 512), no_upscale=True).scale((300, 310))
            (0.512, 1.0)
        """
        width, height = size
        shape = self.of(size)
        covering = max(shape[0] / width, shape[1] / height)
        if not self.no_upscale:
            return covering
        reduced = self._reduced(width, height)
        return max(covering, max(reduced[0] / width, reduced[1] / height))

    def _reduced(self, width: int, height: int) -> Shape:
        """The width and height to which an image that is never enlarged is scaled, before they are cut."""
        if width * height <= self.area:
            return width, height
        ratio = width / height
        wide = math.sqrt(self.area * ratio)
        by_width, by_height = self._floor(wide), self._floor(self.area / wide)
        ratios = by_width / self._floor(by_width / ratio), self._floor(by_height * ratio) / by_height
        if abs(ratios[0] - ratio) < abs(ratios[1] - ratio):
            return by_width, int(by_width / ratio + 0.5)
        return int(by_height * ratio + 0.5), by_height

    def _floor(self, side: float) -> int:
        """The multiple of the step at or below a side, that is rounded first; at least one step."""
        return max(self.step, int(side + 0.5) // self.step * self.step)
