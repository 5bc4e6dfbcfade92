"""Do synthetic elements say what a cluster of training images did? Held against training without it.

python benchmarks/reverse_gradient.py --out runs/reverse-gradient

A small network by the recipe metasmooth on 300 digits; 12 clusters of images that are alike. For each the run is
trained again with weight 0 for its images, and so is another seed; measured is by how much the loss of 40 held-out
digits rises, the mean over both seeds. Spearman's correlation over the clusters, mean over the digits, with intervals
over clusters. Beside it: the same step by the images of the cluster themselves, what tangent-squared and regression on
pixels add up to, and random scores; and the rises of one seed beside those of the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_models import digits
from figures import interval, write_figures

import whence
from whence.attribution import reverse_gradient
from whence.attribution.request import AttributionRequest
from whence.config import RECIPES, Config, ModelConfig
from whence.diffusion.adapter_run import load_run
from whence.engine import Engine, one_thread
from whence.metagradient.synset import Synset
from whence.retraining.denoising_losses import measure_losses
from whence.statistics.correlations import Correlations, draw_resamples
from whence.statistics.statistic import mean_of

#: Training images; settings of the training, over those of the recipe; seeds; queries and their draws.
IMAGES, STEPS, BATCH, SEEDS, QUERIES, DRAWS = 300, 120, 32, 2, 40, 32


def main() -> None:
    """Train, match, retrain, compare and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    out = arguments.parse_args().out
    data, others = digits()
    data = data.select(range(IMAGES))
    queries, engine = others.select(range(QUERIES)), Engine(1)
    config = Config(model=ModelConfig(channels=(16,), attention=0))
    config = config.updated(
        "training", **RECIPES["metasmooth"] | {"steps": STEPS, "batch_size": BATCH, "checkpoints": 2}
    )
    whence.train(data, out / "run", config, engine=engine)
    settings = whence.AttributionConfig(draws=DRAWS)
    methods = ["reverse-gradient", "tangent-squared", "pixel-kernel"]
    examples = whence.Examples.of(queries)
    scores = whence.attribute(out / "run", data, examples, methods, config=settings, out=out / "scores", engine=engine)
    request = AttributionRequest.of(out / "run", data, examples, "reverse-gradient", settings)
    clusters = reverse_gradient.clusters(request)
    predicted = {name: by_cluster(one.scores.double().numpy(), clusters) for name, one in scores.items()}
    predicted["images of the cluster"] = by_images(request, clusters, engine)
    predicted["random"] = np.random.default_rng(0).normal(size=predicted["pixel-kernel"].shape)
    rises = retrained(data, queries, clusters, config, out / "models")
    [stored] = (out / "scores" / "features").glob("synset-*")
    figures: dict[str, Any] = {"clusters": len(clusters), "images": len(data), "queries": QUERIES, "seeds": SEEDS}
    figures["cosine"] = interval(mean_of(Synset.read(stored).cosines.double().numpy(), 0.0))
    counts = draw_resamples(len(clusters), seed=0)
    for name, values in predicted.items():
        figures[name] = interval(Correlations.measure(values, rises.mean(0), counts).mean)
    figures["another seed"] = interval(Correlations.measure(rises[0], rises[1], counts).mean)
    write_figures("reverse-gradient", figures)
    print(figures)


def by_cluster(scores: np.ndarray, clusters: dict[str, np.ndarray]) -> np.ndarray:
    """The sums of scores [Q, N] over the examples of each cluster, [K, Q]."""
    return np.stack([scores[:, rows].sum(1) for rows in clusters.values()])


def by_images(request: AttributionRequest, clusters: dict[str, np.ndarray], engine: Engine) -> np.ndarray:
    """The change of the losses of the queries after the step that the images of each cluster make, [K, Q]."""
    replay, queries = reverse_gradient.open_replay_of(request, engine)
    matching = reverse_gradient.matching_of(request, replay)
    theta, step = matching.weights[-1], replay.config.learning_rate or 0.0
    scale = reverse_gradient.gradient_scale(replay, theta)
    before, targets = queries.values(theta), matching.targets()[-1]
    shares = [len(rows) / len(request.examples) for rows in clusters.values()]
    ends = (theta + step * share * target / scale for share, target in zip(shares, targets, strict=True))
    return torch.stack([(queries.values(end) - before) / step for end in ends]).numpy()


def retrained(
    data: whence.Dataset, queries: whence.Dataset, clusters: dict[str, np.ndarray], config: Config, folder: Path
) -> np.ndarray:
    """The rise of the losses of the queries when the run is trained without each cluster, by seed, [S, K, Q]."""
    rises = []
    for seed in range(SEEDS):
        own = config.updated("training", seed=seed, checkpoints=0)
        losses = []
        for name, rows in {"none": np.zeros(0, int), **clusters}.items():
            path, weights = folder / f"{seed} {name}", {data.ids[n]: 0.0 for n in rows}
            whence.train(data, path, own, weights=weights, engine=Engine(1))
            model = load_run(path, None)
            losses.append(measure_losses(model, queries, model.process.draws(7), DRAWS))
        rises.append(np.stack(losses[1:]) - losses[0])
        print(f"seed {seed} is trained", flush=True)
    return np.stack(rises)


if __name__ == "__main__":
    with one_thread():
        main()
