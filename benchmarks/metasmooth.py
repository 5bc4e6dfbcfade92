"""Which recipe of training can be predicted, and what it costs: LDS of the metagradient against the held-out loss.

python benchmarks/metasmooth.py            all recipes below
python benchmarks/metasmooth.py "4e-3, 1e-3"

Recipes are for 500 digits, and are chosen here: by a seed of their own and by development queries of the digits bank.
For each: a run; its mean loss on 50 held-out queries; the metagradient of 4 of them; and 10 replays, each without
another 1% of the images. 12 to 45 minutes on one core for a recipe. Writes docs/figures/metasmooth.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from figures import FOLDER, write_figures

import whence
from whence.attribution.metagradient import open_replay_of
from whence.attribution.request import AttributionRequest
from whence.evaluation.prediction.lds import lds, predictions
from whence.evaluation.queries import Kind, Use, query_places
from whence.evaluation.smoothness import Smoothness
from whence.metagradient.query_losses import QueryLosses
from whence.metagradient.replay import Replay
from whence.metagradient.reverse import Adjoints, KeptStates, pull_back, replay_to_end

SEED, QUERIES, SUBSETS, SHARE, DRAWS = 101, 4, 10, 0.01, 64
#: Settings of the training by "learning rate, ε"; steps 1,000 and no clipping where nothing else is said.
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "1e-3, 1e-8": {"learning_rate": 1e-3},
    "2e-3, 1e-8": {"learning_rate": 2e-3},
    "2e-3, 3e-4": {"learning_rate": 2e-3, "epsilon": 3e-4},
    "4e-3, 1e-3": {"learning_rate": 4e-3, "epsilon": 1e-3},
    "1e-3, 1e-8, 2,000 steps": {"learning_rate": 1e-3, "steps": 2000},
    "2e-3, 1e-3, 2,000 steps": {"learning_rate": 2e-3, "epsilon": 1e-3, "steps": 2000},
}


def main() -> None:
    """Measure the recipes, and write each as soon as it is measured."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("recipes", nargs="*", help=f"Of {', '.join(map(repr, RECIPES))}; default all.")
    torch.set_num_threads(1)
    for name in given.parse_args().recipes or RECIPES:
        file = FOLDER / "metasmooth.json"
        figures = json.loads(file.read_text("utf-8")) if file.exists() else {}
        settings = {"clip_norm": 0.0, **RECIPES[name]} if RECIPES[name] else {}
        with TemporaryDirectory() as scratch:
            figures[name] = {"settings": settings, **measure(settings, Path(scratch))}
        print(name, figures[name], flush=True)
        write_figures("metasmooth", figures)


def measure(settings: dict[str, Any], folder: Path) -> dict[str, float]:
    """Held-out loss of a recipe, and how well its derivative predicts removals."""
    bank = whence.Bank.open("digits")
    config = bank.config.updated("training", seed=SEED, **settings)
    whence.train(bank.data, folder / "run", config)
    places = query_places(bank, Kind.HELD_OUT, use=Use.DEVELOPMENT)
    queries = whence.Examples.of(bank.queries_data.select(places))
    request = AttributionRequest.of(
        folder / "run", bank.data, queries, "metagradient", whence.AttributionConfig(draws=DRAWS)
    )
    replay, every = open_replay_of(request, whence.Engine())
    kept = KeptStates(folder / "states")
    end, clipped = replay_to_end(replay, kept)
    few = replace(every, queries=queries.head(QUERIES))
    derivative = pull_back(replay, kept, Adjoints.of_average(replay, few.gradients(end.average))).numpy()
    figures = {"held-out loss": float(every.values(end.average).mean()), "clipped": clipped / replay.config.steps}
    return figures | predicted(replay, few, few.values(end.average).numpy(), derivative)


def predicted(replay: Replay, queries: QueryLosses, before: np.ndarray, derivative: np.ndarray) -> dict[str, float]:
    """LDS, correlation and slope over runs that are replayed without some of the images."""
    generator, count = np.random.default_rng(7), len(replay.weights)
    kept = np.ones((SUBSETS, count), bool)
    for row in kept:
        row[generator.permutation(count)[: round(SHARE * count)]] = False
    ends = (replay.end(replay.weights * torch.tensor(row, dtype=torch.float32)) for row in kept)
    losses = np.stack([queries.values(end.average).numpy() for end in ends])
    measured = Smoothness(predictions(~kept, -derivative), losses - before)
    return {
        "LDS, 1%": float(np.nanmean(lds(kept, -derivative, losses))),
        "correlation, 1%": measured.correlation,
        "slope, 1%": measured.fit.slope.value,
    }


if __name__ == "__main__":
    main()
