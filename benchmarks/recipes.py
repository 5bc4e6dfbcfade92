"""The ensembles that the landscape benchmarks share; `python benchmarks/recipes.py` trains all of them.

Every one is small (16 and 32 channels, batches of 64) and continues where it was interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import whence
from whence.cli.show import progress
from whence.engine import Engine

RUNS = Path("runs/landscapes")
#: Training set sizes of the published laws, and of the power table.
SIZES, POWER_SIZES = (128, 256, 512, 1024, 1500), (150, 500, 1500)
POWER_MEMBERS = (8, 16, 32)
#: Optimiser steps of all members together, for every cell of the power table.
POWER_STEPS = 4800
SEEDS = range(10)
ALIKE_SEEDS = range(2)


def config(steps: int, seed: int = 0) -> whence.Config:
    """Settings of every member."""
    settings = whence.Config().updated("model", channels=(16, 32))
    return settings.updated("training", batch_size=64, steps=steps, seed=seed, checkpoints=0)


def train(name: str, data: whence.Dataset, members: int, steps: int, seed: int = 0) -> whence.Ensemble:
    """Train an ensemble, or open it; `seed` draws its code words and its weights."""
    with progress(name) as report:
        return whence.train_ensemble(
            data,
            RUNS / name,
            members=members,
            config=config(steps, seed),
            codebook_seed=seed,
            engine=Engine(report=report),
        )


def some_digits(count: int) -> whence.Dataset:
    """`count` training digits; a smaller set is part of every larger one."""
    digits = whence.load("digits")
    return digits.select(np.sort(np.random.default_rng(0).permutation(len(digits))[:count]))


def law(count: int) -> whence.Ensemble:
    """An ensemble of the published laws: the same budget per member at every size."""
    return train(f"law-{count}", some_digits(count), 16, 800)


def second(count: int) -> whence.Ensemble:
    """The same data as `law`, other code words and other weights."""
    return train(f"second-{count}", some_digits(count), 16, 800, seed=1)


def power(members: int, count: int) -> whence.Ensemble:
    """An ensemble of the power table; where there are too few code words, images share units."""
    data = some_digits(count)
    if members == 8:
        units = tuple((f"group {n % 35}",) for n in range(count))
        data = data.with_fields(units=units)
    return train(f"power-{members}-{count}", data, members, POWER_STEPS // members)


def odd_image() -> np.ndarray:
    """A picture that is no digit, uint8 [1, 8, 8]: a chequerboard of 2x2 squares."""
    rows, columns = np.indices((8, 8)) // 2
    return ((rows + columns) % 2 * 255).astype(np.uint8)[None]


def planted(seed: int) -> whence.Ensemble:
    """200 digits, each a unit, and one unit of 20 copies of an odd image."""
    digits = some_digits(200)
    return train(
        f"planted-{seed}",
        whence.Dataset(
            (*digits.ids, *(f"odd{k}" for k in range(20))),
            np.concatenate([digits.pixels, np.stack([odd_image()] * 20)]),
            (*digits.units, *[("odd",)] * 20),
            (*digits.captions, *[None] * 20),
            classes=(*digits.classes, *[None] * 20),
        ),
        16,
        300,
        seed,
    )


def alike(seed: int) -> whence.Ensemble:
    """200 units that are nearly the same: one digit, with two grey levels of noise."""
    digit = some_digits(1).pixels[0].astype(int)
    noise = np.random.default_rng(seed).integers(-2, 3, (200, *digit.shape))
    pixels = (digit + noise).clip(0, 255).astype(np.uint8)
    ids = tuple(f"copy {k}" for k in range(200))
    return train(f"alike-{seed}", whence.Dataset(ids, pixels, tuple((i,) for i in ids), (None,) * 200), 16, 200, seed)


def main() -> None:
    """Train everything."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    work: list[tuple[Callable[..., whence.Ensemble], tuple[int, ...]]] = []
    work += [*((law, (count,)) for count in SIZES), (second, (256,))]
    work += [(planted, (seed,)) for seed in SEEDS]
    work += [(power, (members, count)) for count in POWER_SIZES for members in POWER_MEMBERS]
    work += [(alike, (seed,)) for seed in ALIKE_SEEDS]
    for make, arguments in work:
        make(*arguments)


if __name__ == "__main__":
    main()
