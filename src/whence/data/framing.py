"""Framings: which part of its original an image shows, as the trainers of Stable Diffusion XL tell their network.

An original of W0 x H0 pixels that becomes an image of W x H is scaled by s = max(W / W0, H / H0), and what is over is
cut off at both ends alike. Two trainers record that differently:

    diffusers    top = round((⌊s H0⌋ - H) / 2),       left = round((⌊s W0⌋ - W) / 2)
    kohya        top = ⌊(H - W H0 / W0) / 2⌋,         left = 0        where the original is wider
                 top = 0,                             left = ⌊(W - H W0 / H0) / 2⌋        where it is not

So diffusers counts the pixels that are cut off (its trainer with ``--center_crop``), and kohya (``get_crop_ltrb``)
those that would be missing if nothing were.
"""

from __future__ import annotations

from whence.data.buckets import Shape

Framing = tuple[int, int, int, int]
"""Height and width of the original, and top and left of the crop."""


def framing(original: Shape, shape: Shape, kohya: bool = False) -> Framing:
    """Return the framing of an image of a width and height, from an original of another.

    Example:
        >>> framing((1000, 600), (512, 512)), framing((1000, 600), (512, 512), kohya=True)
        ((600, 1000, 0, 170), (600, 1000, 102, 0))
    """
    (wide, high), (width, height) = original, shape
    if kohya:
        ratio = wide / high
        if width / height > ratio:
            return high, wide, 0, int((width - height * ratio) // 2)
        return high, wide, int((height - width / ratio) // 2), 0
    if wide * height >= width * high:
        return high, wide, 0, round((height * wide // high - width) / 2)
    return high, wide, round((width * high // wide - height) / 2), 0
