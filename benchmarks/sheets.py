"""Sheets of pictures, for the pictures of `docs/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

GAP = 2


def column(pixels: np.ndarray) -> np.ndarray:
    """Pictures [n, 3, H, W] below each other, with white between them; [h, w, 3]."""
    padded = np.pad(pixels, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP)), constant_values=255)
    return np.concatenate(list(padded.transpose(0, 2, 3, 1)), 0)


def write_sheet(file: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Write rows of as many pictures each, [n, 3, H, W], with the names of the rows beside them."""
    pictures = np.stack(list(rows.values()), 1)
    sheet = np.concatenate([column(one) for one in pictures], 1)
    height = len(sheet) / len(rows)
    figure, axes = plt.subplots(figsize=(sheet.shape[1] / 30 + 0.6, len(sheet) / 30), dpi=100, layout="constrained")
    axes.imshow(sheet, interpolation="nearest")
    axes.set_yticks([height * (n + 0.5) for n in range(len(rows))], list(rows))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(file, bbox_inches="tight")
