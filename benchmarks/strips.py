"""Strips of pictures, for the pictures of `docs/`."""

from __future__ import annotations

import numpy as np

GAP = 2


def strip(pixels: np.ndarray, axis: int) -> np.ndarray:
    """Pictures [n, 3, H, W] below each other (axis 0) or beside each other (1), with white between them; [h, w, 3]."""
    padded = np.pad(pixels, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP)), constant_values=255)
    return np.concatenate(list(padded.transpose(0, 2, 3, 1)), axis)
