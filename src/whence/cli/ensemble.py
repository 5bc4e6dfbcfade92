"""The commands `whence ensemble ...`: their table, and those that train and draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from whence.cli.codebook import codebook
from whence.cli.landscape import influence, landscape, losses
from whence.cli.options import (
    CONFIG,
    DATA,
    GREY,
    PLAN,
    RESOLUTION,
    RUN,
    SEED,
    SPLIT,
    STEPS,
    UNIT_COLUMN,
    WORKERS,
)
from whence.cli.proof import certify, prove, root
from whence.cli.screen import screen
from whence.cli.show import say, show_ablation, show_cost, show_notes
from whence.cli.universe import export


def train(
    data: DATA,
    out: Annotated[Path, typer.Option(help="The directory of the ensemble.")],
    members: Annotated[int, typer.Option(help="Models to train; `whence ensemble codebook` helps to choose.")] = 16,
    weight: Annotated[
        int | None, typer.Option(help="How many of them see each unit; default half, of an even number.")
    ] = None,
    steps: STEPS = None,
    seed: SEED = None,
    codebook_seed: Annotated[int, typer.Option(help="Seed of the code words.")] = 0,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    config: CONFIG = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Train the members of an encoded ensemble, in parallel.

    Each unit (image, artist ...) gets a code word, in which half of the bits are set unless --weight says otherwise.
    Each member trains on the units whose word has its bit set. Interrupted at any moment, the same command continues.
    Run again later, it checks every member by hash and trains only those again that are lost or damaged.

    Example: `whence ensemble train digits --members 16 --steps 1000 --out runs/ens`
    """
    from whence.cli.progress import progress
    from whence.config import read_config
    from whence.data import load
    from whence.diffusion.training_cost import training_cost
    from whence.engine import Engine
    from whence.ensemble.training import make_codebook, train_ensemble
    from whence.proof.root import commit

    settings = read_config(config).updated("training", steps=steps, seed=seed)
    images = load(data, split=split, unit_column=unit_column, resolution=resolution, grey=grey)
    show_notes(images.notes)
    if plan:
        make_codebook(images, members, codebook_seed, weight)
        show_cost(training_cost(images, settings, members=members, engine=Engine(workers)), out)
        return
    with progress(f"training {members} members") as report:
        ensemble = train_ensemble(
            images,
            out,
            members=members,
            weight=weight,
            config=settings,
            codebook_seed=codebook_seed,
            engine=Engine(workers, report),
        )
    units = len(ensemble.codebook.units)
    say(f"{out} is whole: {members} members on {len(images):,} images in {units:,} units, every member checked.")
    say(f"Its root, to be published before anything is certified: {commit(ensemble).root.hash}")
    say(f"Next: whence ensemble sample {out} --count 16 --seed 0")


def sample(
    run: RUN,
    count: Annotated[int, typer.Option(help="Pictures SEED/0 ... SEED/COUNT-1.")] = 16,
    seed: Annotated[int, typer.Option(help="The SEED of the pictures' names; it gives their noise.")] = 0,
    without: Annotated[
        list[str] | None, typer.Option(help="Draw only by members that never saw this unit; may be repeated.")
    ] = None,
    method: Annotated[
        Literal["ddpm", "ddim"] | None,
        typer.Option(help="Ancestral sampling or DDIM; default the run's setting."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; default the run's setting.")] = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Draw pictures from the mean prediction of the members.

    A picture is named SEED/INDEX. The same name is the same picture, however many are drawn beside it. With --without,
    no member that draws was trained on the unit: this is the opt-out.

    Example: `whence ensemble sample runs/ens --count 16 --seed 1 --without 17`
    """
    from whence.cli.progress import progress
    from whence.engine import Engine
    from whence.ensemble import Ensemble
    from whence.ensemble import sample as draw_samples
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.ensemble.sampling import SampleRequest

    ensemble = Ensemble.open(run)
    units = without or []
    sampler = ensemble.config.updated("sampler", method=method, steps=steps).sampler
    if plan:
        missing = SampleRequest.make(ensemble, count, seed, units, sampler).missing_trajectories()
        show_cost(drawing_cost(ensemble, {sampler: missing}, engine=Engine(workers)), run)
        return
    with progress(f"drawing {count} pictures") as report:
        samples = draw_samples(
            ensemble, count=count, seed=seed, without=units, sampler=sampler, engine=Engine(workers, report)
        )
    names = samples.names
    say(f"Pictures {names[0]} to {names[-1]}, by {len(samples.manifest.made['members'])} members: {samples.path}")
    say(f"All at a glance: {samples.path / 'sheet.png'}")


def ablate(
    run: RUN,
    sample: Annotated[list[str], typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated.")],
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
    from whence.cli.progress import progress
    from whence.engine import Engine
    from whence.ensemble import Ensemble, ablate_each
    from whence.ensemble.drawing_cost import drawing_cost
    from whence.ensemble.make_ablation import missing_trajectories, nearest_units
    from whence.ensemble.sampling import expand_names

    ensemble = Ensemble.open(run)
    names = expand_names(sample)
    if bool(unit) == bool(nearest):
        raise typer.BadParameter("say what to leave out: --unit ID (repeated: together) or --nearest COUNT, not both")
    requests = [(name, unit or []) for name in names] if unit else nearest_units(ensemble, names, nearest or 1)
    if plan:
        missing = missing_trajectories(ensemble, requests, keep_only=keep_only)
        show_cost(drawing_cost(ensemble, missing, engine=Engine(workers)), run)
        return
    with progress(f"drawing {len(requests)} counterfactuals and placebos") as report:
        ablations = ablate_each(ensemble, requests, keep_only=keep_only, engine=Engine(workers, report))
    for ablation in ablations:
        show_ablation(ablation)
    say(f"All of them on one page: whence report {run}")


#: The commands by name.
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "sample": sample,
    "ablate": ablate,
    "root": root,
    "certify": certify,
    "prove": prove,
    "codebook": codebook,
    "losses": losses,
    "landscape": landscape,
    "influence": influence,
    "screen": screen,
    "export": export,
}

app = typer.Typer(
    help="Encoded ensembles: exact counterfactual pictures, by leaving out the members that saw a training image.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
for name, command in COMMANDS.items():
    app.command(name)(command)
