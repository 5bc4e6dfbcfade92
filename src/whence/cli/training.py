"""The commands `whence train` and `whence ensemble train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import whence
from whence.cli.data import follow_recipe, load_data
from whence.cli.options import (
    BUCKETS,
    CAPTION_COLUMN,
    CLASSES,
    CONFIG,
    DATA,
    GREY,
    PLAN,
    RESOLUTION,
    SEED,
    SKIP_BAD,
    SPLIT,
    STEPS,
    UNIT_COLUMN,
    WORKERS,
)
from whence.cli.show import say, show_cost, show_notes, show_work

if TYPE_CHECKING:
    from whence.artefacts import Manifest

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
TEXT_ENCODER = Annotated[
    str | None,
    typer.Option(
        help="Folder of a StableDiffusionPipeline whose text encoder embeds the captions that a network of latents is "
        "trained on. `styles` is one that comes with Whence."
    ),
]
RANK = Annotated[int | None, typer.Option(min=1, help="Rank of the adapter; default 16.")]
ALPHA = Annotated[float | None, typer.Option(help="Alpha of the adapter; default its rank.")]
TARGET = Annotated[
    str | None,
    typer.Option(help="Layers that the adapter changes, by a regular expression in their names; default attention."),
]
CAPTION_DROPOUT = Annotated[
    float | None, typer.Option(help="Probability that training sees an image with the empty caption; default 0.")
]
FREEZE_A = Annotated[
    bool, typer.Option("--freeze-a", help="Train B of the adapter alone; A is random, and the same in every run.")
]

RECIPE = Annotated[
    Literal["metasmooth"] | None,
    typer.Option(
        help="Settings of the training, over those of --config. metasmooth: a lower learning rate, 500 steps of 64 and "
        "no clipping, so that `attribute --method metagradient` predicts small removals."
    ),
]


def train(
    data: DATA,
    out: Annotated[
        Path, typer.Option(help="The run directory; without --base it is also an ordinary diffusers folder.")
    ],
    steps: STEPS = None,
    seed: SEED = None,
    recipe: RECIPE = None,
    base: BASE = None,
    autoencoder: AUTOENCODER = None,
    text_encoder: TEXT_ENCODER = None,
    rank: RANK = None,
    alpha: ALPHA = None,
    target: TARGET = None,
    caption_dropout: CAPTION_DROPOUT = None,
    freeze_a: FREEZE_A = False,
    classes: CLASSES = None,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    buckets: BUCKETS = None,
    grey: GREY = False,
    skip_bad: SKIP_BAD = False,
    config: CONFIG = None,
    plan: PLAN = False,
) -> None:
    """Train one diffusion model, with --autoencoder on latents, or with --base a LoRA adapter, recorded step by step.

    With --text-encoder too, a model of latents draws from text. If it is interrupted, the same command continues and
    ends with the same weights to the last bit. `DiffusionPipeline.from_pretrained(OUT)` opens the result; an adapter is
    put on its base by `load_lora_weights(OUT)`.

    Example: `whence train digits --steps 1000 --out runs/single`
    """
    from whence.config import RECIPES
    from whence.diffusion.training import training_cost

    training = {"steps": steps, "seed": seed, "caption_dropout": caption_dropout}
    adapter = {"rank": rank, "alpha": alpha, "target": target, "freeze_a": freeze_a or None}
    settings = whence.read_config(config).updated("training", **RECIPES.get(recipe or "", {}))
    settings = with_adapter(settings.updated("training", **training), base, adapter, resolution, classes)
    how: dict[str, Any] = {"unit_column": unit_column, "caption_column": caption_column, "skip_bad": skip_bad}
    images = load_data(data, out, split=split, resolution=resolution, buckets=buckets, grey=grey, **how)
    settings = follow_recipe(settings, images)
    parts: dict[str, Any] = {"base": base, "autoencoder": autoencoder, "text_encoder": text_encoder}
    if plan:
        return show_cost(training_cost(images, settings, **parts), out)
    with show_work("training") as engine:
        manifest = whence.train(images, out, settings, engine=engine, **parts)
    _show_other_notes(manifest, images)
    say(f"{out} is trained: {settings.training.steps:,} steps on {len(images):,} images.")
    if base is not None:
        say(f"It has {manifest.facts['parameters']:,} weights of an adapter on {base}.")
    say(f"Open it with  {_opening(out, base)}")


def _show_other_notes(manifest: Manifest, images: whence.Dataset) -> None:
    """Print the notes of a training on its images, but for those that were printed when they were read."""
    notes = [note for note in manifest.facts.get("notes", ()) if note not in images.notes]
    show_notes(notes, of="the training images")


def _opening(out: Path, base: str | None) -> str:
    """How diffusers opens a run."""
    from whence.diffusion.folders import read_mapping
    from whence.diffusion.shipped_base import base_folder

    if base is not None:
        folder = base_folder(base)
        pipeline = read_mapping(folder / "model_index.json")["_class_name"]
        return f'diffusers.{pipeline}.from_pretrained("{folder}").load_lora_weights("{out}")'
    return f'diffusers.{read_mapping(out / "model_index.json")["_class_name"]}.from_pretrained("{out}")'


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
    classes: CLASSES = None,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    skip_bad: SKIP_BAD = False,
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

    training = {"steps": steps, "seed": seed, "caption_dropout": caption_dropout}
    adapter = {"rank": rank, "alpha": alpha, "target": target, "freeze_a": freeze_a or None}
    own = whence.read_config(config).updated("training", **training)
    settings = with_adapter(own, base, adapter, resolution, classes)
    how: dict[str, Any] = {"unit_column": unit_column, "caption_column": caption_column, "skip_bad": skip_bad}
    images = load_data(data, out, split=split, resolution=resolution, grey=grey, **how)
    settings = follow_recipe(settings, images)
    if plan:
        make_codebook(images, members, codebook_seed, weight)
        engine = whence.Engine(workers)
        return show_cost(training_cost(images, settings, members=members, base=base, engine=engine), out)
    book: dict[str, Any] = {"members": members, "weight": weight, "codebook_seed": codebook_seed}
    with show_work(f"training {members} members", workers) as engine:
        ensemble = whence.train_ensemble(images, out, config=settings, base=base, engine=engine, **book)
    _show_other_notes(ensemble.manifest, images)
    units = len(ensemble.codebook.units)
    say(f"{out} is whole: {members} members on {len(images):,} images in {units:,} units, every member checked.")
    say(f"Its root, to be published before anything is certified: {whence.commit(ensemble).root.hash}")
    say(f"Next: whence ensemble sample {out} --count 16 --seed 0")


def with_adapter(
    settings: whence.Config,
    base: str | None,
    adapter: dict[str, Any],
    resolution: int | None,
    classes: Path | None = None,
) -> whence.Config:
    """Return the settings with those of an adapter, where there is a base or one of them is given.

    A file of classes names the labels of the base.
    """
    from whence.diffusion.base import labels_of_base

    if classes is not None:
        adapter = adapter | {"classes": labels_of_base(base, classes)}
    if base is None and all(value is None for value in adapter.values()):
        return settings
    return settings.updated("adapter", **adapter, resolution=resolution)
