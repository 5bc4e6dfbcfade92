"""The bits that images of 16 bits per channel really hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whence.errors import DataError, join_names

#: Of 0 ... 255, the largest value of images of 14 bits and of 12 bits that are scaled as 16 bits.
_LOW, _VERY_LOW = 64, 16


def range_notes(names: Sequence[str], highest: Mapping[int, int]) -> list[str]:
    """Refuse images of 16 bits that hold fewer: scaled as 16 bits they would be nearly black.

    Args:
        names: What messages call the images.
        highest: The largest pixel of each image of 16 bits that is not black, by number.

    Returns:
        A note on images that hold fewer bits among others that don't.

    Raises:
        DataError: No pixel of these images reaches beyond 14 bits, or in most of them none reaches beyond 12 bits.
    """
    low = [n for n, value in highest.items() if value <= _VERY_LOW]
    if highest and max(highest.values()) <= _LOW:
        low = list(highest)
    if not low:
        return []
    top = max(highest[n] for n in low)
    bits = next(bits for bits in (8, 10, 12, 14) if top <= 2**bits / 256)
    which = (
        f"{len(low)} of {len(highest)} images of 16 bits per channel (such as {join_names([names[n] for n in low])})"
    )
    if 2 * len(low) > len(highest):
        raise DataError(
            f"{which} use {top / 255:.1%} of their range, and would be nearly black. They look like {bits}-bit values "
            f"(0 to {2**bits - 1:,}). Scale them to 0 to 65,535, or save them with 8 bits per channel."
        )
    return [
        f"{which} use {top / 255:.1%} of their range and are nearly black. If they hold {bits}-bit values (0 to "
        f"{2**bits - 1:,}), scale them to 0 to 65,535."
    ]
