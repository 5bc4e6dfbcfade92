"""The picture of the data set `styles` in docs/data.md: a column of pictures for each contributor, and the base.

python benchmarks/styles_picture.py --out docs/styles.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sheets import column

import whence

ROWS = 6


def main() -> None:
    """Write the picture."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, default=Path("docs/styles.png"))
    out = arguments.parse_args().out
    train, base = whence.load("styles", unit_column="contributor"), whence.load("styles:base")
    names = [f"style {number}" for number in range(1, 13)]
    columns = [column(train.pixels[train.examples_of(name)[:ROWS]]) for name in names]
    columns += [column(base.pixels[start : start + ROWS]) for start in (0, ROWS)]
    sheet = np.concatenate(columns, 1)
    width = columns[0].shape[1]
    figure, axes = plt.subplots(figsize=(sheet.shape[1] / 30, sheet.shape[0] / 30 + 0.3), dpi=100, layout="constrained")
    axes.imshow(sheet, interpolation="nearest")
    axes.set_xticks([width * (n + 0.5) for n in range(len(columns))], [*names, "base", "base"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
