"""The command `whence ensemble screen`."""

from __future__ import annotations

import math
import shlex
import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from whence.cli.ensemble import app
from whence.cli.options import PLAN, RUN, WORKERS
from whence.cli.show import say, show_cost

if TYPE_CHECKING:
    from whence.cost import Cost
    from whence.ensemble import Ensemble
    from whence.ensemble.screening import Request

#: Code words without a unit that are estimated beside the units.
PLACEBOS = 200


@app.command()
def screen(
    run: RUN,
    sample: Annotated[list[str], typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated.")],
    top: Annotated[int, typer.Option(min=1, help="How many units to show for each picture.")] = 10,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Estimate which units' ablations move a picture most, from a single drawing of it.

    Differential ablation: the picture is drawn once, without clipping, together with its derivatives by the weight of
    every member, and from these follows a first-order estimate of every unit's ablation. It says where to look;
    `ablate` draws the exact counterfactuals. Units with similar code words get similar numbers, so only those that are
    above what code words without a unit get are worth a look.

    Example: `whence ensemble screen runs/ens --sample 0/3 --sample 0/8-11 --top 10`
    """
    from whence.cli.progress import progress
    from whence.ensemble import Ensemble
    from whence.ensemble.screening import requests
    from whence.ensemble.screening import screen as estimate

    ensemble = Ensemble.open(run)
    wanted = requests(ensemble, sample)
    if plan:
        show_cost(screen_cost(ensemble, wanted, workers), run)
        return
    with progress(f"screening {len(wanted)} pictures") as report:
        scores = estimate(ensemble, sample, workers=workers, report=report)
    for one in wanted:
        say(f"Picture {one.sample}: estimated distance without the unit, to first order, pixels in [0, 1]")
        for rank, (unit, distance) in enumerate(scores.top(one.sample, top), start=1):
            say(f"  {rank:>3}. {distance:.3f}  {unit}")
        _show_beside(ensemble, one)
        first = shlex.quote(scores.top(one.sample, 1)[0][0])
        say(f"  Exactly: whence ensemble ablate {shlex.quote(str(run))} --sample {one.sample} --unit {first}")
    _explain(ensemble, wanted)


def screen_cost(ensemble: Ensemble, wanted: list[Request], workers: int | None) -> Cost:
    """Cost of the screens that are not there yet, measured on a sampling step with copies of one member, warmed up."""
    from whence.cost import Cost, counted
    from whence.engine import one_thread, workers_here
    from whence.ensemble.differential import tangents
    from whence.ensemble.screening import group_evaluations, missing

    groups = missing(wanted)
    if not groups:
        return Cost(0.0, psutil.Process().memory_info().rss, 0, "nothing: all of it is there already")
    used = min(workers or workers_here(), len(groups))
    network, sampler = ensemble.networks([0])[0], groups[0][0].sampler
    copies = [network] * ensemble.codebook.members
    one_step, times = sampler.model_copy(update={"steps": 1}), []
    with one_thread():
        for _ in range(2):
            begin = time.perf_counter()
            tangents(ensemble.schedule, copies, one_step, [one.name for one in groups[0]])
            times.append(time.perf_counter() - begin)
    weights = sum(p.numel() for p in network.parameters()) * 4 * len(copies)
    count, total = sum(map(len, groups)), sum(group_evaluations(ensemble, group) for group in groups)
    return Cost(
        seconds=-(-len(groups) // used) * sampler.steps * times[-1],
        memory=(psutil.Process().memory_info().rss + weights) * used,
        disk=count * math.prod(ensemble.schedule.size) * (8 * len(copies) + 4),
        work=f"{count} pictures: {total:,} forward-mode evaluations in {counted(used)}",
    )


def _show_beside(ensemble: Ensemble, request: Request) -> None:
    """Print what code words without a unit get, and what drawing without clipping changes."""
    import torch

    from whence import images
    from whence.ensemble.differential import weight_change
    from whence.ensemble.placebos import placebos
    from whence.ensemble.sampling import find_sample
    from whence.ensemble.screen import Screen
    from whence.seeds import derived_seed

    screened, book = Screen.open(request.path), ensemble.codebook
    words = placebos(book, 1, book.members - book.weight, derived_seed(book.seed, "screen placebos"))
    changes = [weight_change(book.members, members) for members in islice(words, PLACEBOS)]
    if changes:
        found = screened.distances(torch.stack(changes))
        median, largest = found.median().item(), found.max().item()
        say(f"  {len(found)} placebos, code words without a unit: median {median:.3f}, largest {largest:.3f}")
    else:
        say("  No placebos: every code word belongs to a unit.")
    samples, index = find_sample(ensemble, request.sample)
    moved = images.distance(samples.pictures[index], screened.tensors["factual"]).item()
    say(f"  Drawn without clipping, as here, the picture itself is {moved:.3f} away from the sample.")


def _explain(ensemble: Ensemble, wanted: list[Request]) -> None:
    """Print what the estimates are, and their cost beside that of what they estimate."""
    from whence.ensemble.screening import group_evaluations

    book = ensemble.codebook
    spent = sum(group_evaluations(ensemble, [one]) for one in wanted)
    exact = sum(one.sampler.steps for one in wanted) * int((~book.bits).sum())
    say(
        f"These are estimates. {book.members} members give a picture at most {book.members - 1} independent numbers: "
        "units with similar code words share theirs, whatever their images show."
    )
    say(
        f"Cost: {spent:,} forward-mode evaluations; the exact landscapes of {len(book.units):,} units take "
        f"{exact:,} network evaluations."
    )
