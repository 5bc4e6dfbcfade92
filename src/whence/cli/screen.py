"""The command `whence ensemble screen`."""

from __future__ import annotations

import shlex
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.options import PLAN, RUN, WORKERS
from whence.cli.show import say, show_cost

if TYPE_CHECKING:
    from whence.ensemble import Ensemble
    from whence.ensemble.screen import ScreenRequest

#: Code words without a unit that are estimated beside the units.
PLACEBOS = 200


def screen(
    run: RUN,
    sample: Annotated[list[str], typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated.")],
    top: Annotated[int, typer.Option(min=1, help="How many units to show for each picture.")] = 10,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Estimate which units' ablations move a picture most, from a single drawing of it.

    Differential ablation: the picture is drawn once, without clipping, together with its derivatives by the weight of
    every member. These give a first-order estimate of the ablation of every unit. `ablate` draws the exact
    counterfactuals. Units with similar code words get similar estimates, so only units above the estimates of code
    words without a unit are worth an ablation.

    Example: `whence ensemble screen runs/ens --sample 0/3 --sample 0/8-11 --top 10`
    """
    from whence.cli.progress import progress
    from whence.engine import Engine
    from whence.ensemble import Ensemble
    from whence.ensemble.drawing_cost import screen_cost
    from whence.ensemble.screen import screen as estimate
    from whence.ensemble.screen import screen_requests

    ensemble = Ensemble.open(run)
    requests = screen_requests(ensemble, sample)
    if plan:
        show_cost(screen_cost(ensemble, requests, engine=Engine(workers)), run)
        return
    with progress(f"screening {len(requests)} pictures") as report:
        scores = estimate(ensemble, sample, engine=Engine(workers, report))
    for request in requests:
        name = request.sample
        say(f"Picture {name}: estimated distance without the unit, to first order, pixels in [0, 1]")
        for rank, (unit, distance) in enumerate(scores.top(name, top), start=1):
            say(f"  {rank:>3}. {distance:.3f}  {unit}")
        _show_placebos(ensemble, request)
        first = shlex.quote(scores.top(name, 1)[0][0])
        say(f"  Exactly: whence ensemble ablate {shlex.quote(str(run))} --sample {name} --unit {first}")
    _show_meaning(ensemble, requests)


def _show_placebos(ensemble: Ensemble, request: ScreenRequest) -> None:
    """Print the estimates of code words without a unit, and what drawing without clipping changes."""
    import torch

    from whence import images
    from whence.ensemble.placebos import placebos
    from whence.ensemble.sampling import find_sample
    from whence.ensemble.screen import Screen
    from whence.ensemble.tangents import weight_change
    from whence.seeds import derived_seed

    screen, book = Screen.open(request.path), ensemble.codebook
    words = placebos(book, 1, book.members - book.weight, derived_seed(book.seed, "screen placebos"))
    changes = [weight_change(book.members, members) for members in islice(words, PLACEBOS)]
    if changes:
        distances = screen.distances(torch.stack(changes))
        median, largest = distances.median().item(), distances.max().item()
        say(f"  {len(distances)} placebos, code words without a unit: median {median:.3f}, largest {largest:.3f}")
    else:
        say("  No placebos: every code word belongs to a unit.")
    samples, index = find_sample(ensemble, request.sample)
    moved = images.distance(samples.pictures[index], screen.tensors["factual"]).item()
    say(f"  Drawn without clipping, as here, the picture itself is {moved:.3f} away from the sample.")


def _show_meaning(ensemble: Ensemble, requests: list[ScreenRequest]) -> None:
    """Print what the estimates are, and their cost beside that of the exact landscapes."""
    from whence.ensemble.screen import group_evaluations

    book = ensemble.codebook
    evaluations = sum(group_evaluations(ensemble, [request]) for request in requests)
    exact = sum(request.sampler.steps for request in requests) * int((~book.bits).sum())
    say(
        f"These are estimates. {book.members} members give a picture at most {book.members - 1} independent numbers: "
        "units with similar code words share theirs, whatever their images show."
    )
    say(
        f"Cost: {evaluations:,} forward-mode evaluations; the exact landscapes of {len(book.units):,} units take "
        f"{exact:,} network evaluations."
    )
