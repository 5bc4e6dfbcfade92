"""The commands about training: `whence train`, `whence ensemble train` and `whence ensemble codebook`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.data import load_data
from whence.cli.options import (
    CAPTION_COLUMN,
    CONFIG,
    DATA,
    GREY,
    PLAN,
    RESOLUTION,
    SEED,
    SPLIT,
    STEPS,
    UNIT_COLUMN,
    WORKERS,
)
from whence.cli.show import say, show_cost, show_notes, show_work

if TYPE_CHECKING:
    from whence.ensemble.codebook_design import CodebookDesign

#: Effects for which power is predicted, and the largest number of rows of the table.
EFFECTS, ROWS = (0.5, 1.0, 2.0, 4.0), 40

COLUMNS = """words: code words there are. left of n: members that draw when n units are removed, at least.
names at {level:.0%}: whether enough words are left as placebos to name one of all units by exact losses.
own unit first: predicted share of training images that exact losses trace to their own unit, before all others, if
members that saw it know it better by d standard deviations between members. The d of small digit models was measured
(docs/benchmarks.md); it grows with the number of times that a member sees an image."""
TOO_FEW_WORDS = """No codebook of this table has enough words to name one of so many units. Larger units (--unit-column)
need fewer words; weights nearer to half of the members (a weaker guarantee) give more."""


BASE = Annotated[
    str | None,
    typer.Option(
        help="Folder of a text-to-image model, on which a LoRA adapter is trained; it is not changed. `styles` is one "
        "that comes with Whence."
    ),
]
AUTOENCODER = Annotated[
    str | None,
    typer.Option(
        help="Folder of an autoencoder, or of a pipeline that has one, on whose latents the network is trained. "
        "`styles` is one that comes with Whence."
    ),
]
RANK = Annotated[int | None, typer.Option(min=1, help="Rank of the adapter; default 16.")]
ALPHA = Annotated[float | None, typer.Option(help="Alpha of the adapter; default its rank.")]
TARGET = Annotated[
    str | None,
    typer.Option(help="Layers that the adapter changes, by a regular expression in their names; default attention."),
]
CAPTION_DROPOUT = Annotated[
    float | None, typer.Option(help="Probability that an adapter sees an image with the empty caption; default 0.")
]
FREEZE_A = Annotated[
    bool, typer.Option("--freeze-a", help="Train B of the adapter alone; A is random, and the same in every run.")
]


def train(
    data: DATA,
    out: Annotated[
        Path, typer.Option(help="The run directory; without --base it is also an ordinary diffusers folder.")
    ],
    steps: STEPS = None,
    seed: SEED = None,
    base: BASE = None,
    autoencoder: AUTOENCODER = None,
    rank: RANK = None,
    alpha: ALPHA = None,
    target: TARGET = None,
    caption_dropout: CAPTION_DROPOUT = None,
    freeze_a: FREEZE_A = False,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    config: CONFIG = None,
    plan: PLAN = False,
) -> None:
    """Train one diffusion model, with --autoencoder on latents, or with --base a LoRA adapter, recorded step by step.

    If it is interrupted, the same command continues and ends with the same weights to the last bit.
    `DDPMPipeline.from_pretrained(OUT)` opens the result, or LDMPipeline a network of latents; an adapter is put on its
    base by `load_lora_weights(OUT)`.

    Example: `whence train digits --steps 1000 --out runs/single`
    """
    from whence.diffusion.shipped_base import base_folder
    from whence.diffusion.training import training_cost

    settings = whence.read_config(config).updated("training", steps=steps, seed=seed)
    adapter = {"rank": rank, "alpha": alpha, "target": target, "caption_dropout": caption_dropout}
    settings = with_adapter(settings, base, {**adapter, "freeze_a": freeze_a or None}, resolution)
    columns = {"unit_column": unit_column, "caption_column": caption_column}
    images = load_data(data, out, split=split, resolution=resolution, grey=grey, **columns)
    if plan:
        return show_cost(training_cost(images, settings, base=base, autoencoder=autoencoder), out)
    with show_work("training") as engine:
        manifest = whence.train(images, out, settings, base=base, autoencoder=autoencoder, engine=engine)
    show_notes(manifest.facts.get("notes", ()), of="the training images")
    say(f"{out} is trained: {settings.training.steps:,} steps on {len(images):,} images.")
    if base is None:
        pipeline = "DDPMPipeline" if autoencoder is None else "LDMPipeline"
        return say(f'Open it with  diffusers.{pipeline}.from_pretrained("{out}")')
    say(f"It has {manifest.facts['parameters']:,} weights of an adapter on {base}.")
    folder = base_folder(base)
    say(f'Open it with  diffusers.StableDiffusionPipeline.from_pretrained("{folder}").load_lora_weights("{out}")')


def train_ensemble(
    data: DATA,
    out: Annotated[Path, typer.Option(help="The directory of the ensemble.")],
    members: Annotated[int, typer.Option(help="Models to train; `whence ensemble codebook` helps to choose.")] = 16,
    weight: Annotated[
        int | None, typer.Option(help="How many of them see each unit; default half, of an even number.")
    ] = None,
    steps: STEPS = None,
    seed: SEED = None,
    codebook_seed: Annotated[int, typer.Option(help="Seed of the code words.")] = 0,
    base: BASE = None,
    rank: RANK = None,
    alpha: ALPHA = None,
    target: TARGET = None,
    caption_dropout: CAPTION_DROPOUT = None,
    freeze_a: FREEZE_A = False,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    config: CONFIG = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Train the members of an encoded ensemble, in parallel: whole models, or with --base LoRA adapters on one base.

    Each unit (image, artist ...) gets a code word, in which half of the bits are set unless --weight says otherwise.
    Each member trains on the units whose word has its bit set. Interrupted at any moment, the same command continues.
    Run again later, it checks every member by hash and trains only those again that are lost or damaged.

    Example: `whence ensemble train digits --members 16 --steps 1000 --out runs/ens`
    """
    from whence.diffusion.training import training_cost
    from whence.ensemble.training import make_codebook

    settings = whence.read_config(config).updated("training", steps=steps, seed=seed)
    adapter = {"rank": rank, "alpha": alpha, "target": target, "caption_dropout": caption_dropout}
    settings = with_adapter(settings, base, {**adapter, "freeze_a": freeze_a or None}, resolution)
    columns = {"unit_column": unit_column, "caption_column": caption_column}
    images = load_data(data, out, split=split, resolution=resolution, grey=grey, **columns)
    if plan:
        make_codebook(images, members, codebook_seed, weight)
        engine = whence.Engine(workers)
        return show_cost(training_cost(images, settings, members=members, base=base, engine=engine), out)
    book: dict[str, Any] = {"members": members, "weight": weight, "codebook_seed": codebook_seed}
    with show_work(f"training {members} members", workers) as engine:
        ensemble = whence.train_ensemble(images, out, config=settings, base=base, engine=engine, **book)
    notes = [note for note in ensemble.manifest.facts.get("notes", ()) if note not in images.notes]
    show_notes(notes, of="the training images")
    units = len(ensemble.codebook.units)
    say(f"{out} is whole: {members} members on {len(images):,} images in {units:,} units, every member checked.")
    say(f"Its root, to be published before anything is certified: {whence.commit(ensemble).root.hash}")
    say(f"Next: whence ensemble sample {out} --count 16 --seed 0")


def with_adapter(
    settings: whence.Config, base: str | None, adapter: dict[str, Any], resolution: int | None
) -> whence.Config:
    """Return the settings with those of an adapter, where there is a base or one of them is given."""
    if base is None and all(value is None for value in adapter.values()):
        return settings
    return settings.updated("adapter", **adapter, resolution=resolution)


def codebook(
    units: Annotated[int, typer.Option(help="Number of units: images, or artists if each artist is left out as one.")],
    remove: Annotated[int, typer.Option(help="Units that may be removed together, whichever they are.")] = 1,
    survivors: Annotated[int, typer.Option(help="Members that must be left then.")] = 1,
) -> None:
    """Choose members and weight of a codebook before anything is trained: guarantee, cost and power.

    A word of weight w shows its unit to w of M members, so w <= (M - survivors) / remove is the guarantee. The table
    begins with the fewest members. Its last columns are predictions: how often exact losses trace a training image back
    to its own unit, if members that saw the image know it better by so many standard deviations between members.

    Example: `whence ensemble codebook --units 1500 --remove 2 --survivors 2`
    """
    from whence.ensemble.codebook_design import designs
    from whence.statistics.placebo_test import LEVEL

    rows = list(islice(designs(units, remove, survivors), ROWS))
    able = next((k for k, design in enumerate(rows) if design.can_name()), len(rows) - 1)
    say(f"Codebooks for {units:,} units: any {remove} removed, at least {survivors} members left.\n")
    titles = ("members", "weight", "words", f"left of {remove}", "left of 1", f"names at {LEVEL:.0%}")
    say("".join(f"{title:>12}" for title in titles) + "   own unit first if d is")
    say(" " * 72 + "".join(f"{effect:>7g}" for effect in EFFECTS))
    for design in rows[: able + 3]:
        if design in (rows[0], rows[able]) or design.members % 2 == 0:
            say(_row(design))
    say("\n" + COLUMNS.format(level=LEVEL))
    _show_costs(rows[0], rows[able])


def _row(design: CodebookDesign) -> str:
    from whence.ensemble.codebook_design import predicted_power

    numbers = (design.members, design.weight, design.capacity, design.guaranteed, design.survivors)
    able = "yes" if design.can_name() else "no"
    power = "".join(f"{predicted_power(design, effect).first:>7.0%}" for effect in EFFECTS)
    return "".join(f"{number:>12,}" for number in numbers) + f"{able:>12}" + power


def _show_costs(smallest: CodebookDesign, able: CodebookDesign) -> None:
    """Print the costs of two codebooks, and whether the second can name a unit."""
    from whence.ensemble.influence import independence_note

    for design in dict.fromkeys((smallest, able)):
        say(
            f"Cost of {design.members} members of weight {design.weight}: {design.members} training runs, each on "
            f"about {design.weight / design.members:.0%} of the units; per step {design.members}"
        )
        say(
            f"  network evaluations for a picture, {design.survivors} for its ablation, "
            f"{design.units * design.survivors:,} for its whole landscape."
        )
        say(f"  whence ensemble train DATA --members {design.members} --weight {design.weight} --out runs/ens")
    if not able.can_name():
        say(TOO_FEW_WORDS)
    say(independence_note(able.members))
