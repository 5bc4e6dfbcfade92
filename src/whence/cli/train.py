"""The command `whence train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.options import CONFIG, DATA, GREY, PLAN, RESOLUTION, SEED, SPLIT, STEPS, UNIT_COLUMN
from whence.cli.show import say, show_cost, show_notes


def train(
    data: DATA,
    out: Annotated[Path, typer.Option(help="The run directory. It is also an ordinary diffusers folder.")],
    steps: STEPS = None,
    seed: SEED = None,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    config: CONFIG = None,
    plan: PLAN = False,
) -> None:
    """Train one diffusion model, recorded step by step.

    If it is interrupted, the same command continues and ends with the same weights to the last bit.
    `DDPMPipeline.from_pretrained(OUT)` opens the result.

    Example: `whence train digits --steps 1000 --out runs/single`
    """
    from whence.cli.progress import progress
    from whence.config import read_config
    from whence.data import load
    from whence.diffusion.training import train as train_model
    from whence.diffusion.training_cost import training_cost
    from whence.engine import Engine

    settings = read_config(config).updated("training", steps=steps, seed=seed)
    images = load(data, split=split, unit_column=unit_column, resolution=resolution, grey=grey)
    show_notes(images.notes)
    if plan:
        show_cost(training_cost(images, settings), out)
        return
    with progress("training") as report:
        train_model(images, out, settings, engine=Engine(report=report))
    say(f"{out} is trained: {settings.training.steps:,} steps on {len(images):,} images.")
    say(f'Open it with  diffusers.DDPMPipeline.from_pretrained("{out}")')
