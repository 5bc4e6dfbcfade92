"""The command `whence evaluate smoothness`: does the derivative of a run predict finite changes of its weights?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.data import load_beside
from whence.cli.options import CAPTION_COLUMN, DATA, GREY, PLAN, PROMPTS, QUERY_PROMPT, RESOLUTION, SPLIT, UNIT_COLUMN
from whence.cli.show import say, show_cost, show_paragraph, show_statistics, show_work

if TYPE_CHECKING:
    from whence.evaluation.smoothness import Smoothness


def smoothness(
    run: Annotated[Path, typer.Argument(help="A run of `whence train`.")],
    data: DATA,
    queries: Annotated[str, typer.Option(help="The pictures whose losses change, as of `whence attribute`.")],
    subsets: Annotated[int, typer.Option(min=3, help="Random subsets of the training images.")] = 4,
    share: Annotated[float, typer.Option(help="Share of the training images in a subset.")] = 0.5,
    change: Annotated[
        float, typer.Option(help="By which share the weights of a subset fall; 1 leaves the subset out.")
    ] = 0.02,
    draws: Annotated[int, typer.Option(help="Draws (timestep, noise) per picture.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of subsets and draws.")] = 0,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    prompts: PROMPTS = None,
    prompt: QUERY_PROMPT = None,
    plan: PLAN = False,
) -> None:
    """Does the derivative of a run by the weights of its images predict what a change of them does (metasmoothness)?

    Replays the run with the weights of random subsets reduced, and compares the changes of the losses of the pictures
    with those that the derivative predicts. Where the slope or R² is far from 1, `--method metagradient` is exact and
    says little of such changes. A small --change tests the derivative; --share 0.01 --change 1 tests removals.

    Example: `whence evaluate smoothness runs/single digits --queries sample:8 --subsets 4`
    """
    from whence.attribution.metagradient import open_replay_of
    from whence.attribution.request import AttributionRequest
    from whence.attribution.target import Target
    from whence.diffusion.prompts import Prompts
    from whence.evaluation.smoothness import changes, smoothness_cost
    from whence.evaluation.smoothness import smoothness as measure

    size: dict[str, Any] = {"resolution": resolution, "grey": grey}
    images = load_beside(data, split=split, unit_column=unit_column, caption_column=caption_column, **size)
    target = Target.open(run)
    pictures = target.queries(queries, prompts=Prompts.read(prompts, prompt or (), None, None), **size)
    config = whence.AttributionConfig(draws=draws, seed=seed)
    request = AttributionRequest.of(target, images, pictures, "metagradient", config)
    replay, losses = open_replay_of(request, whence.Engine())
    delta = changes(replay.weights, subsets, share, change, seed)
    if plan:
        return show_cost(smoothness_cost(replay, subsets), Path())
    with show_work("replays") as engine:
        measured = measure(replay, losses, delta, engine, target.model)
    say(f"{subsets} subsets of {share:.0%} of the images, whose weights fall by {change:.0%}; {len(losses)} pictures")
    _show(measured)


def _show(measured: Smoothness) -> None:
    """Print slope, R² and correlation, and what they mean."""
    statistics = {"slope": measured.fit.slope, "R²": measured.fit.r2}
    show_statistics({"metagradient": statistics}, dict.fromkeys(statistics, ".3f"))
    say(f"Correlation of predicted and measured changes: {measured.correlation:.3f}")
    show_paragraph(
        "A slope and an R² of 1: losses change as predicted. Below, the run is not metasmooth at changes of this size: "
        "a lower learning rate, larger batches and no clipping help (whence train --recipe metasmooth)."
    )
