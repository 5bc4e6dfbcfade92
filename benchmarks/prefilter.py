"""What a prefilter by latents loses: the images of `styles` and 16 pictures by the base `styles`, all scored.

Of the 20 images of the largest scores of each picture, and of the 20 of the smallest, the share that is among the
images nearest to the picture, by `tangent-squared` and by `trak`. Intervals are over the pictures. It reads the
features that `benchmarks/index_search.py` makes. Writes docs/figures/prefilter.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figures import interval, write_figures
from index_search import real
from torch import Tensor

from whence.attribution.prefilter import TOP, nearest_latents
from whence.scores.scores import Scores
from whence.statistics.statistic import mean_of

#: Images that are kept of each picture.
COUNTS = (30, 60, 120, 300)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/index"))
    given = parser.parse_args()
    figures: dict[str, object] = {}
    for name in ("tangent-squared", "trak"):
        request = real(given.out, name).plan.request
        scores = Scores.read(given.out / f"scores-{name}" / name)
        columns = [scores.examples.index(one) for one in request.examples.ids]
        rows = [scores.queries.index(one) for one in request.queries.ids]
        ordered = scores.scores[rows][:, columns]
        figures[name] = {
            side: {str(count): shares(sign * ordered, nearest_latents(request, count)) for count in COUNTS}
            for side, sign in (("proponents", 1), ("opponents", -1))
        }
        figures["images"], figures["pictures"] = len(columns), len(rows)
    print(figures)
    write_figures("prefilter", figures)


def shares(scores: Tensor, candidates: Tensor) -> dict[str, float]:
    """Return the mean share of the largest scores of each query that are among its candidates, with its interval."""
    top = scores.topk(TOP, 1).indices.numpy()
    found = [np.isin(best, own).mean() for best, own in zip(top, candidates.numpy(), strict=True)]
    return interval(mean_of(np.array(found), candidates.shape[1] / scores.shape[1]))


if __name__ == "__main__":
    main()
