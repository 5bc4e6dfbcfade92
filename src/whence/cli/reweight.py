"""The command `whence reweight`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from whence.cli.attribute import BASE
from whence.cli.data import load_beside, load_data
from whence.cli.options import CAPTION_COLUMN, DATA, GREY, PLAN, RESOLUTION, SPLIT, UNIT_COLUMN, WORKERS
from whence.cli.show import say, show_cost, show_paragraph, show_work

if TYPE_CHECKING:
    from whence.reweighting.reweighting import Reweighting
    from whence.statistics.statistic import Statistic


def reweight(
    run: Annotated[Path, typer.Argument(help="A recorded run of `whence train`, best with --recipe metasmooth.")],
    data: DATA,
    held_out: Annotated[
        str, typer.Option(help="Pictures that training never saw: half to choose the weights by, half to check them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the run with them in run/, and the checks.")],
    behaviour: Annotated[
        str, typer.Option(help="What is raised: held-out-fit, minus the mean loss of held-out pictures.")
    ] = "held-out-fit",
    worst_of: Annotated[
        Literal["label", "unit"] | None,
        typer.Option(help="Raise the worst group of held-out pictures, by class or unit; default their mean."),
    ] = None,
    weights_by: Annotated[
        Literal["image", "label", "unit"] | None,
        typer.Option(help="Which training images share a weight; default those of one group, as of --worst-of."),
    ] = None,
    bound: Annotated[float, typer.Option(help="The most by which a weight changes: 0.5 is from 0.5 to 1.5.")] = 0.5,
    draws: Annotated[int, typer.Option(min=8, help="Draws (timestep, noise) of every held-out picture.")] = 64,
    seeds: Annotated[
        int, typer.Option(min=2, help="Other seeds that are trained with the weights and without, to check them.")
    ] = 3,
    base: BASE = None,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Weigh the training images so that the model is better where it is worst, and check that by training again.

    The exact derivative of the run says how the loss of each group changes with the weight of every image. The weights
    stay within a bound, their mean stays, and the predicted mean loss must not rise. What they promise is told beside
    what models of other seeds show, on pictures that chose nothing. Interrupted, the same command continues.

    Example: `whence reweight runs/single digits --held-out digits:test --worst-of label --out runs/fair`
    """
    import whence
    from whence.reweighting.make_reweighting import ReweightingRequest, reweighting_cost

    how: dict[str, Any] = {"unit_column": unit_column, "caption_column": caption_column}
    size: dict[str, Any] = {"resolution": resolution, "grey": grey}
    images = load_data(data, out, split=split, **how, **size)
    pictures = load_beside(held_out, **how, **size)
    chosen: dict[str, Any] = {"weights_by": weights_by, "bound": bound, "draws": draws, "seeds": seeds, "base": base}
    request = ReweightingRequest(run, images, pictures, out, behaviour, worst_of, **chosen)
    if plan:
        return show_cost(reweighting_cost(request, whence.Engine(workers)), out)
    with show_work("derivative and retraining", workers) as engine:
        reweighting = whence.reweight(request, engine)
    _show(reweighting)
    say(f"The run with the weights: {out / 'run'}")
    say(f"The weights: {reweighting.write_table(out / 'weights.csv')}")


def _show(reweighting: Reweighting) -> None:
    """Print what was promised and what was measured."""
    weights = reweighting.weights
    say(f"Weights from {weights.min():.2f} to {weights.max():.2f}, of {len(weights):,} training images.")
    seeds = len(reweighting.plain)
    say(f"{reweighting.behaviour}, promised of the run, and measured in {seeds} other seeds with 95% intervals:")
    say(f"  worst group  promised {reweighting.promised_worst:+.4g}  measured {_interval(reweighting.worst, '+.4g')}")
    mean = _interval(reweighting.mean, "+.2%")
    say(f"  mean of all  promised {reweighting.promised_mean:+.2%}  measured {mean}")
    changes = zip(reweighting.of_group.items(), reweighting.promised - reweighting.before, strict=True)
    for (name, measured), promised in changes:
        mark = "  (worst before)" if name == reweighting.worst_group else ""
        say(f"  {name:<12} promised {promised:+.4g}  measured {_interval(measured, '+.4g')}{mark}")
    show_paragraph(reweighting.verdict)


def _interval(one: Statistic, form: str) -> str:
    return f"{format(one.value, form)} ({format(one.interval.low, form)} to {format(one.interval.high, form)})"
