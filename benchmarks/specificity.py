"""Do gradients of large norm decide who is influential? Two kinds of pictures, whose gradients differ in norm.

1,000 digits and 200 patches of a photograph, one model, its checkpoints and record. Queries: held-out digits, held-out
patches and pictures that the model draws. For every method:

* *general*: training examples among the top 20 of at least half of the queries; *unique*: different examples in all
  these top 20; *norm*: mean norm of the gradients of what is in them, over that of all examples;
* *right, digits* and *right, patches*: share of the top 10 that is of the query's own kind.

Intervals are of 95%, by drawing the queries again with replacement, each kind for itself. A random order is one line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

import whence
from whence.cli.progress import progress
from whence.gradients.features import Feature
from whence.gradients.store import Features
from whence.report.scores import write_scores_report

RUNS = Path("runs/specificity")
DIGITS, PATCHES, QUERIES, DRAWS = 1000, 200, 50, 64
SIDE, CONTRAST, PHOTOGRAPH = 8, 40, "china.jpg"
METHODS = ("tracin", "retrac", "tracin-cp", "gas", "gradient-cosine", "trak", "d-trak")
TOP, RIGHT, RESAMPLES = 20, 10, 1000


def main() -> None:
    """Measure and print; writes specificity.json and the report of the scores."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    digits, patches = whence.load("digits"), photograph()
    data = mixed(digits.select(range(DIGITS)), patches.select(range(PATCHES)))
    asked = mixed(whence.load("digits:test").select(range(QUERIES)), patches.select(range(PATCHES, PATCHES + QUERIES)))
    with progress("model") as report:
        whence.train(data, RUNS / "model", settings(), report=report)
    drawn = whence.read_queries(whence.DiffusionModel.load(RUNS / "model"), f"sample:{QUERIES}")
    pictures = torch.cat([asked.images(range(len(asked))), drawn.pictures])
    queries = whence.Queries((*asked.ids, *drawn.names), pictures, sampler=None, drawn=False)
    with progress("gradients") as report:
        found = whence.attribute(
            RUNS / "model",
            data,
            queries,
            METHODS,
            config=whence.AttributionConfig(draws=DRAWS),
            out=RUNS / "scores",
            report=report,
        )
    norms = gradient_norms(data.ids)
    order = {name: one.scores.numpy() for name, one in found.items()}
    order["random order"] = np.random.default_rng(0).random((len(queries.names), len(data)))
    results = {name: summary(scores, kinds(queries.names), kinds(data.ids), norms) for name, scores in order.items()}
    (RUNS / "specificity.json").write_text(json.dumps(results, indent=1))
    is_patch = kinds(data.ids) == "patch"
    ratio = np.median(norms[is_patch]) / np.median(norms[~is_patch])
    print(f"gradient norm of patches over that of digits, medians: {ratio:.2f}\n")
    columns = list(next(iter(results.values())))
    print(f"| method | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in results.items():
        print(f"| {name} | {' | '.join(shown(*row[column]) for column in columns)} |")
    print(f"\n{write_scores_report(RUNS / 'scores')}")


def settings() -> whence.Config:
    """Of the model, which predicts the noise, as those of the papers do."""
    chosen = whence.Config().updated("model", channels=(16, 32), prediction="epsilon")
    return chosen.updated("training", batch_size=64, steps=2000, checkpoints=4)


def photograph() -> whence.Dataset:
    """Grey patches of 8x8 pixels with much contrast, in random order."""
    grey = np.asarray(Image.fromarray(load_sample_image(PHOTOGRAPH)).convert("L"))
    height, width = (side // SIDE for side in grey.shape)
    blocks = grey[: height * SIDE, : width * SIDE].reshape(height, SIDE, width, SIDE).swapaxes(1, 2)
    pixels = blocks.reshape(-1, 1, SIDE, SIDE)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(pixels.std(axis=(1, 2, 3)) > CONTRAST))
    ids = tuple(str(row) for row in rows)
    return whence.Dataset(ids, pixels[rows], tuple((i,) for i in ids), (None,) * len(ids))


def mixed(digits: whence.Dataset, patches: whence.Dataset) -> whence.Dataset:
    """Both kinds in one set; ids begin with the kind."""
    ids = (*(f"digit {name}" for name in digits.ids), *(f"patch {name}" for name in patches.ids))
    pixels = np.concatenate([digits.pixels, patches.pixels])
    return whence.Dataset(ids, pixels, tuple((i,) for i in ids), (None,) * len(ids))


def kinds(ids: tuple[str, ...]) -> np.ndarray:
    """The kind of every id: digit, patch, or the seed of a picture that was drawn."""
    return np.array([name.replace("/", " ").split()[0] for name in ids])


def gradient_norms(ids: tuple[str, ...]) -> np.ndarray:
    """Root mean square over the recorded visits of ‖∇loss‖ of every example, [N]; the mean over checkpoints."""
    found = []
    for path in (RUNS / "scores" / "features").glob("*/recorded"):
        features = Features.open(path, Feature("loss"))
        place = {name: row for row, name in enumerate(features.ids)}
        found.append(features.norms().square().mean(1).sqrt()[[place[name] for name in ids]].numpy())
    return np.asarray(np.mean(found, 0))


def summary(
    scores: np.ndarray, asked: np.ndarray, given: np.ndarray, norms: np.ndarray
) -> dict[str, tuple[float, ...]]:
    """The numbers of one method, with their intervals."""
    order = np.argsort(-scores, 1, kind="stable")
    among = np.zeros(scores.shape)
    np.put_along_axis(among, order[:, :TOP], 1, 1)
    right = (given[order[:, :RIGHT]] == asked[:, None]).mean(1)
    loud = (among @ norms) / TOP / norms.mean()
    statistics: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "general": lambda counts: (2 * counts @ among >= len(asked)).sum(1),
        "norm": lambda counts: counts @ loud / len(asked),
        "right, digits": lambda counts: counts @ (right * (asked == "digit")) / QUERIES,
        "right, patches": lambda counts: counts @ (right * (asked == "patch")) / QUERIES,
    }
    found: dict[str, tuple[float, ...]] = {"unique": (int((among.sum(0) > 0).sum()),)}
    for name, statistic in statistics.items():
        low, high = np.quantile(statistic(resamples(asked)), (0.025, 0.975))
        found[name] = (float(statistic(np.ones((1, len(asked))))[0]), float(low), float(high))
    return found


def shown(value: float, *interval: float) -> str:
    """A number, and its interval if it has one."""
    return f"{value:.3g}" + (f" ({interval[0]:.3g} to {interval[1]:.3g})" if interval else "")


def resamples(asked: np.ndarray) -> np.ndarray:
    """How often each query is drawn again, [RESAMPLES, Q], each kind for itself."""
    source, counts = np.random.default_rng(0), np.zeros((RESAMPLES, len(asked)))
    for kind in np.unique(asked):
        own = np.flatnonzero(asked == kind)
        counts[:, own] = source.multinomial(len(own), np.full(len(own), 1 / len(own)), RESAMPLES)
    return counts


if __name__ == "__main__":
    main()
