"""The loss of models like those of the bank on CIFAR-2: python benchmarks/cifar2_curve.py runs/cifar2 --work WORK.

Models like those of the bank are trained on one half of its images, for a fourth to twice as many steps, each with its
own warm-up and decay. Their losses are measured at 32 draws on 200 images of the split validation, and on 200
images that they were trained on. With --rates they are trained for the steps of the bank at other learning rates
instead, to choose one. The figures go into docs/figures/cifar2-curve.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from figures import write_figures

import whence
from whence.cli.show import progress
from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.retraining.denoising_losses import measure_losses

CONFIG = Path(__file__).parent / "cifar2.toml"
#: Steps of a model of the bank that is trained on half of the images, and of those beside it.
STEPS, ALL_STEPS = 1000, (250, 500, 1000, 2000)
COUNT, DRAWS = 200, 32


def main() -> None:
    """Train, measure, print and write."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder", type=Path, help="what cifar2.py made")
    arguments.add_argument("--work", type=Path, required=True, help="a folder for the models")
    arguments.add_argument("--rates", type=float, nargs="+", default=[], help="learning rates to compare")
    given = arguments.parse_args()
    images = given.folder / "images"
    data, others = (whence.load(str(images), split=split) for split in ("train", "validation"))
    half = data.select(np.sort(np.random.default_rng(0).permutation(len(data))[: len(data) // 2]))
    held_out = others.select(np.sort(np.random.default_rng(0).permutation(len(others))[-COUNT:]))
    config = whence.read_config(CONFIG)
    if given.rates:
        for rate in given.rates:
            settings = config.updated("training", steps=STEPS, learning_rate=rate, checkpoints=0)
            print(rate, losses(given, half, held_out, settings, f"rate-{rate:g}"))
        return
    figures = {}
    for steps in ALL_STEPS:
        settings = config.updated("training", steps=steps, checkpoints=0)
        figures[str(steps)] = losses(given, half, held_out, settings, f"steps-{steps}")
        print(steps, figures[str(steps)])
    write_figures("cifar2-curve", figures)


def losses(given: Any, half: Dataset, held_out: Dataset, settings: whence.Config, name: str) -> dict[str, float]:
    """Mean losses of a model, that is trained unless it is there."""
    encoders = {"autoencoder": given.folder / "autoencoder", "text_encoder": "styles"}
    with progress(name) as report:
        whence.train(half, given.work / name, settings, engine=Engine(1, report), **encoders)
    model = DiffusionModel.load(given.work / name)
    draws = model.process.draws(1)
    sets = {"held out": held_out, "trained on": half.select(range(0, len(half), len(half) // COUNT)[:COUNT])}
    return {key: float(measure_losses(model, one, draws, DRAWS, Engine(1)).mean()) for key, one in sets.items()}


if __name__ == "__main__":
    main()
