"""The commands `whence ensemble ...` about pictures: sample, ablate, screen and export."""

from __future__ import annotations

import shlex
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import whence
from whence.cli.opt_out import export_adapter
from whence.cli.options import COMBINE, GUIDANCE, NEGATIVE_PROMPT, PLAN, PROMPT, PROMPTS, RUN, SAMPLES, WORKERS
from whence.cli.show import say, show_ablation, show_cost, show_work, size

if TYPE_CHECKING:
    from whence.ensemble.screen import ScreenRequest

#: Code words without a unit that are estimated beside the units.
PLACEBOS = 200


def sample(
    run: RUN,
    count: Annotated[int, typer.Option(help="Pictures SEED/0 ... SEED/COUNT-1.")] = 16,
    seed: Annotated[int, typer.Option(help="The SEED of the pictures' names; it gives their noise.")] = 0,
    without: Annotated[
        list[str] | None, typer.Option(help="Draw only by members that never saw this unit; may be repeated.")
    ] = None,
    method: Annotated[
        Literal["ddpm", "ddim", "euler"] | None,
        typer.Option(help="Ancestral sampling, DDIM, or Euler's of flows; default the run's setting."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; default the run's setting.")] = None,
    prompts: PROMPTS = None,
    prompt: PROMPT = None,
    negative_prompt: NEGATIVE_PROMPT = None,
    guidance: GUIDANCE = None,
    combine: COMBINE = "predictions",
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Draw pictures by all members together.

    A picture is named SEED/INDEX. The same name is the same picture, however many are drawn beside it. With --without,
    no member that draws was trained on the unit: this is the opt-out. Adapters draw from prompts, in turn.

    Example: `whence ensemble sample runs/ens --count 16 --seed 1 --without 17`
    """
    from whence.diffusion.prompts import Prompts
    from whence.ensemble.drawing import complete_drawing
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.ensemble.sampling import SampleRequest

    ensemble = whence.Ensemble.open(run)
    units, texts = without or [], Prompts.read(prompts, prompt or (), negative_prompt, guidance)
    sampler = ensemble.config.updated("sampler", method=method, steps=steps).sampler
    drawing = complete_drawing(ensemble.text, sampler, texts, combine)
    if ensemble.base is not None and texts is None:
        say("Note: no prompts were given; the pictures are drawn from the empty prompt.")
    if plan:
        missing = SampleRequest.make(ensemble, count, seed, units, drawing).missing_trajectories()
        return show_cost(drawing_cost(ensemble, {drawing: missing}, engine=whence.Engine(workers)), run)
    options: dict[str, Any] = {"sampler": sampler, "prompts": texts, "combine": combine}
    with show_work(f"drawing {count} pictures", workers) as engine:
        samples = whence.sample(ensemble, count=count, seed=seed, without=units, engine=engine, **options)
    names = samples.names
    say(f"Pictures {names[0]} to {names[-1]}, by {len(samples.manifest.made['members'])} members: {samples.path}")
    say(f"All at a glance: {samples.path / 'sheet.png'}")
    if not units:
        say(f"Next: whence ensemble losses {run} --queries {seed}/0-{count - 1}   (which units mattered to each)")


def ablate(
    run: RUN,
    sample: SAMPLES,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="The unit to leave out; repeated, all of them are left out together."),
    ] = None,
    nearest: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of --unit: leave out, one at a time, the units closest by pixels."),
    ] = None,
    keep_only: Annotated[
        bool, typer.Option("--keep-only", help="The reverse: only members that saw all of the units.")
    ] = False,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Draw a picture again, from the same noise, by the members that never saw a unit.

    The counterfactual is exact: bit for bit what the ensemble of these members draws. A placebo is drawn beside it: by
    as many members, chosen by a code word that no unit has. Only if the counterfactual is further away than placebos
    is there a reason to credit the unit.

    Example: `whence ensemble ablate runs/ens --sample 0/3 --unit 17 --unit 230`
    """
    from whence.ensemble.ablation import missing_trajectories, nearest_units
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.ensemble.sampling import expand_names

    ensemble = whence.Ensemble.open(run)
    names = expand_names(sample)
    if bool(unit) == bool(nearest):
        raise typer.BadParameter("say what to leave out: --unit ID (repeated: together) or --nearest COUNT, not both")
    requests = [(name, unit or []) for name in names] if unit else nearest_units(ensemble, names, nearest or 1)
    if plan:
        missing = missing_trajectories(ensemble, requests, keep_only=keep_only)
        return show_cost(drawing_cost(ensemble, missing, engine=whence.Engine(workers)), run)
    with show_work(f"drawing {len(requests)} counterfactuals and placebos", workers) as engine:
        ablations = whence.ablate_each(ensemble, requests, keep_only=keep_only, engine=engine)
    for ablation in ablations:
        show_ablation(ablation)
    say(f"All of them on one page: whence report {run}")


def screen(
    run: RUN,
    sample: SAMPLES,
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
    from whence.ensemble.drawing_cost import screen_cost
    from whence.ensemble.screen import screen_requests

    ensemble = whence.Ensemble.open(run)
    requests = screen_requests(ensemble, sample)
    if plan:
        return show_cost(screen_cost(ensemble, requests, engine=whence.Engine(workers)), run)
    with show_work(f"screening {len(requests)} pictures", workers) as engine:
        scores = whence.screen(ensemble, sample, engine=engine)
    for request in requests:
        name = request.sample
        say(f"Picture {name}: estimated distance without the unit, to first order, pixels in [0, 1]")
        for rank, (unit, distance) in enumerate(scores.top(name, top), start=1):
            say(f"  {rank:>3}. {distance:.3f}  {unit}")
        _show_placebos(ensemble, request)
        first = shlex.quote(scores.top(name, 1)[0][0])
        say(f"  Exactly: whence ensemble ablate {shlex.quote(str(run))} --sample {name} --unit {first}")
    _show_meaning(ensemble, requests)


def _show_placebos(ensemble: whence.Ensemble, request: ScreenRequest) -> None:
    """Print the estimates of code words without a unit, and what drawing without clipping changes."""
    import torch

    from whence import images
    from whence.ensemble.codebook import placebos
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


def _show_meaning(ensemble: whence.Ensemble, requests: list[ScreenRequest]) -> None:
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


def export(
    run: RUN,
    out: Annotated[Path, typer.Argument(help="The file to write; an old one is replaced.", metavar="OUT")],
    format: Annotated[
        Literal["ctf", "lora"],
        typer.Option(
            help="ctf: a universe file, an uncompressed tar of PNG sheets. lora: one adapter, the mean of the members."
        ),
    ] = "ctf",
    without: Annotated[
        list[str] | None, typer.Option(help="lora: leave out this unit; repeated, all are left out together.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="lora: the largest rank; default as much as it takes to be exact.")
    ] = None,
) -> None:
    """Write all landscapes of an ensemble as one file, or the adapter without a unit as an ordinary LoRA file.

    `ctf` is the format of published counterfactual universes: pictures, and each picture without each unit, with 8 bits
    per channel; `whence.Universe.open` reads it, and theirs. `lora` is the opt-out: the mean of ΔW of the members that
    never saw the units. `load_lora_weights` of a pipeline opens it. Its certificate is written beside it, like
    `opt-out.json`, and `whence verify` checks it.

    Example: `whence ensemble export runs/ens --without "artist 7" --format lora opt-out.safetensors`
    """
    ensemble = whence.Ensemble.open(run)
    if format == "lora":
        return export_adapter(ensemble, out, without or [], rank, run)
    if without or rank:
        raise typer.BadParameter("--without and --rank belong to --format lora")
    drawn = whence.landscapes(ensemble)
    with show_work("writing sheets") as engine:
        universe = whence.write_universe(out, ensemble, drawn, engine=engine)
    pictures = ", ".join(landscape.sample for landscape in drawn[:4]) + (", ..." if len(drawn) > 4 else "")
    say(f"{out} holds {len(drawn)} pictures ({pictures}), each without each of {len(universe.units):,} units.")
    say(f"Its size is {size(out.stat().st_size)}; format: {format}, {universe.config.format}.")
