"""Are pictures of several shapes comparable? On `styles`: do training images of a query's contributor score higher?

Pictures are cut to 16x12, 12x16 and 16x16, alike often for each contributor. For each query, the chance that an image
of its contributor has a larger score of `tangent` than one of another (area under the ROC curve; 1/2 by chance), among
images of the query's own shape and among those of the others: with noise and signs at the centre of one canvas, as
`whence attribute` has them, and with those of each shape drawn by themselves. And the mean score of images of the same
contributor in another shape, over that in the query's own.

By the attention layers of the base, without captions. 95% intervals by the bootstrap over queries. Less than a minute
on a free core. Writes docs/figures/shapes.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import write_figures

import whence
from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.request import AttributionRequest
from whence.ragged import stack_rows

SHAPES = ((12, 16), (16, 12), (16, 16))
EXAMPLES, QUERIES, DRAWS = 12, 3, 32


def main() -> None:
    """Measure and write."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    torch.set_num_threads(1)
    data, queries = cut("styles", EXAMPLES), cut("styles:test", QUERIES)
    figures = {"canvas": measured(data, queries, canvas=True), "apart": measured(data, queries, canvas=False)}
    print(figures)
    write_figures("shapes", figures)


def cut(name: str, count: int) -> whence.Dataset:
    """The first pictures of each contributor without captions, of which the centre in each shape in turn is kept."""
    data = whence.load(name, unit_column="contributor")
    rows = np.concatenate([data.examples_of(unit)[:count] for unit in data.unit_ids])
    pictures = []
    for n, row in enumerate(rows):
        height, width = SHAPES[n % len(SHAPES)]
        top, left = (16 - height) // 2, (16 - width) // 2
        pictures.append(data.pixels[row][:, top : top + height, left : left + width])
    ids, units = tuple(data.ids[n] for n in rows), tuple(data.units[n] for n in rows)
    return whence.Dataset(ids, stack_rows(pictures), units, (None,) * len(rows))


def measured(data: whence.Dataset, queries: whence.Dataset, canvas: bool) -> dict[str, Any]:
    """The areas among images of the query's own shape and of others, and the ratio of the mean scores."""
    config = whence.AttributionConfig(draws=DRAWS)
    request = AttributionRequest.of("styles", data, queries, "tangent", config, "attn")
    if not canvas:
        vars(request)["canvas"] = None
    plan = FeaturePlan.of(request)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        store.extend(plan)
        scores = compute_scores(plan, store, errors=False)["tangent"].scores.double().numpy()
    own, other, ratio = [], [], []
    for q, row in enumerate(scores):
        same = np.array([units == queries.units[q] for units in data.units])
        shape = np.array([size == queries.sizes[q] for size in data.sizes])
        own.append(area(row[same & shape], row[~same & shape]))
        other.append(area(row[same & ~shape], row[~same & ~shape]))
        ratio.append((row[same & ~shape].mean(), row[same & shape].mean()))
    parts = np.array(ratio)
    return {
        "own shape": interval(np.array(own)),
        "other shapes": interval(np.array(other)),
        "ratio": {"value": parts[:, 0].mean() / parts[:, 1].mean(), "count": len(parts)},
    }


def area(above: np.ndarray, below: np.ndarray) -> float:
    """The area under the ROC curve."""
    return float((above[:, None] > below).mean())


def interval(values: np.ndarray) -> dict[str, float]:
    """The mean with its 95% interval by the bootstrap."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high), "count": len(values)}


if __name__ == "__main__":
    main()
