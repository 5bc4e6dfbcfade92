"""What the metagradient costs in trainings, and how far it predicts: `benchmarks/metagradient.py cost`, `predict`.

cost      CPU time of a step of training, of a replayed step and of a step of reverse mode for 1 and for 8 queries, in
          turn, with one thread, of the digits and the recipe metasmooth; and the memory of a short run.
predict   Metasmoothness of the whole run of a recipe at changes of 2% of the weights of half of the images, and at
          removals of one in a hundred. About an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from figures import FOLDER, interval, write_figures

import whence
from whence.attribution.metagradient import open_replay_of
from whence.attribution.request import AttributionRequest
from whence.config import RECIPES
from whence.cost import peak_memory
from whence.diffusion.loop import Loop
from whence.diffusion.training import request_of
from whence.evaluation.smoothness import changes, smoothness
from whence.metagradient.reverse import Adjoints, pull_back_step

ROUNDS, QUERIES = 5, 8
#: Settings of the training by the name of the row.
ROWS = {"metasmooth": RECIPES["metasmooth"], "default": {}}
#: Share of the images in a subset, and by which part their weights fall, by the name of the figure.
STEPS = {"weights of half of the images, 2%": (0.5, 0.02), "one image in a hundred left out": (0.01, 1.0)}


def main() -> None:
    """Measure, print and write docs/figures/metagradient.json."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("part", choices=["cost", "predict"])
    given.add_argument("--recipe", choices=list(ROWS), default="metasmooth")
    given.add_argument("--subsets", type=int, default=4)
    given.add_argument("--queries", type=int, default=QUERIES)
    asked = given.parse_args()
    torch.set_num_threads(1)
    file = FOLDER / "metagradient.json"
    figures = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if asked.part == "cost":
        figures["cost"] = cost()
    else:
        figures.setdefault("predict", {})[asked.recipe] = predict(asked.recipe, asked.subsets, asked.queries)
    print(json.dumps(figures, indent=1, default=float))
    write_figures("metagradient", figures)


def cost() -> dict[str, float]:
    """Return the cost in trainings for 1 and 8 queries, and the peak of memory in MiB, before and with reverse mode."""
    digits = whence.load("digits")
    config = whence.Config().updated("training", **RECIPES["metasmooth"])
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        whence.train(digits, run, config.updated("training", steps=2, warmup=0, checkpoints=0))
        request = AttributionRequest.of(run, digits, "sample:1", "metagradient")
        replay, _ = open_replay_of(request, whence.Engine())
        training = request_of(digits, config)
        loop = Loop.start(training.stand_in(), [1.0] * len(digits), config.training, run, training.model())
        loop.one_step()
        before, trained = replay.initial(), peak_memory()
        after, _ = replay.step(before, 0)

        def backwards(count: int) -> Callable[[], object]:
            adjoints = Adjoints.of_average(replay, torch.randn(count, len(replay.start)) * 1e-3)
            return lambda: pull_back_step(replay, before, after, replace(adjoints, step=1))

        works = {"training": loop.one_step, "replay": lambda: replay.step(before, 0)}
        works |= {f"{count}": backwards(count) for count in (1, QUERIES)}
        seconds = interleaved(works)
    trainings = {count: (2 * seconds["replay"] + seconds[f"{count}"]) / seconds["training"] for count in (1, QUERIES)}
    return {
        "milliseconds of a training step": 1000 * seconds["training"],
        "replayed step / training step": seconds["replay"] / seconds["training"],
        "trainings, 1 query": trainings[1],
        "trainings, 8 queries": trainings[QUERIES],
        "trainings for each of 8 queries": trainings[QUERIES] / QUERIES,
        "MiB of a training": trained / 2**20,
        "MiB with 8 queries, without kept states": peak_memory() / 2**20,
    }


def interleaved(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU time of each work, done in turn, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + ROUNDS):
        for name, work in works.items():
            start = time.process_time()
            work()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def predict(recipe: str, subsets: int, queries: int) -> dict[str, object]:
    """Return slope, R² and correlation of measured against predicted changes of the losses of held-out digits."""
    digits, figures = whence.load("digits"), {}
    shown = whence.load("digits:test").select(range(queries))
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        whence.train(digits, run, whence.Config().updated("training", **ROWS[recipe]))
        request = AttributionRequest.of(run, digits, shown, "metagradient", whence.AttributionConfig(draws=64))
        replay, losses = open_replay_of(request, whence.Engine())
        for name, (share, change) in STEPS.items():
            measured = smoothness(replay, losses, changes(replay.weights, subsets, share, change))
            figures[name] = {
                "slope": interval(measured.fit.slope),
                "R²": interval(measured.fit.r2),
                "correlation": measured.correlation,
                "subsets": subsets,
                "queries": queries,
            }
            print(name, figures[name], flush=True)
    return figures


if __name__ == "__main__":
    main()
