"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.process_config import ProcessConfig

DATA = Annotated[
    str,
    typer.Argument(
        help="`digits` (built in: 1,500 training and 297 held-out images), `styles` (built in: digits in colour, "
        "drawn by twelve contributors), a folder of images (flat, class folders, metadata.csv or another table), a "
        "Hugging Face data set saved on disk, Parquet, tars (one, a folder, or {00000..00012}.tar), or the data of "
        "kohya's trainer (its TOML file, or kohya:FOLDER). NAME:SPLIT picks a split."
    ),
]
RUN = Annotated[Path, typer.Argument(help="The directory of an ensemble.", metavar="RUN")]
STEPS = Annotated[int | None, typer.Option(help="Optimiser steps per model; default 1000.")]
SEED = Annotated[int | None, typer.Option(help="Seed of weights, order and draws; default 0.")]
SPLIT = Annotated[str | None, typer.Option(help="The split of the data; default train, if there are splits.")]
UNIT_COLUMN = Annotated[
    str | None,
    typer.Option(
        help="Column that names the unit of each image (artist, licence, label ...). A unit is left out as a whole. "
        "Default: each image is a unit."
    ),
]
CAPTION_COLUMN = Annotated[
    str | None,
    typer.Option(
        help="Column of the data that holds the captions, or `.txt` or `.caption` for files beside the images; default "
        "`text`, `caption` or `prompt`."
    ),
]
RESOLUTION = Annotated[int | None, typer.Option(help="Crop to the centre square and resize to this many pixels.")]
BUCKETS = Annotated[
    int | None,
    typer.Option(
        help="Keep several shapes of images: crop and scale each to the nearest of about --resolution² pixels, with "
        "sides that are multiples of this. Trainers of adapters usually have 64.",
        metavar="STEP",
    ),
]
GREY = Annotated[bool, typer.Option("--grey", help="Turn the images to grey.")]
SKIP_BAD = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out images that can't be read; a note in the results names them."),
]
CONFIG = Annotated[Path | None, typer.Option(help="TOML file with more settings, such as the config.toml of a run.")]
PROCESS = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file whose section [process] says how the model was trained: density of the time, shift, weights. "
        "Default: as the diffusers trainer of its family does.",
    ),
]
COMBINE = Annotated[
    Literal["predictions", "weights"],
    typer.Option(help="Of adapters: the mean of their predictions, or of their changes of the weights."),
]
PLAN = Annotated[bool, typer.Option("--plan", help="Show the cost in time, memory and disk, and stop.")]
WORKERS = Annotated[int | None, typer.Option(min=1, help="Number of processes; default one for each core.")]
ENGINE = Annotated[
    Literal["local", "ray", "array"],
    typer.Option(
        help="Where work runs: `local`: in processes of this machine; `ray`: by Ray, in a cluster or on this machine; "
        "`array`: by all processes that are given this command, or `whence work OUT`, on a shared file system."
    ),
]
ADDRESS = Annotated[
    str | None,
    typer.Option(
        help="For --engine ray: the address of a cluster, `auto` on one of its machines; default a Ray that is started "
        "here."
    ),
]
SAMPLER = Annotated[
    Literal["ddpm", "ddim", "euler"] | None,
    typer.Option(help="How sample:COUNT is drawn: ancestral sampling, DDIM, or Euler's of flows; default the run's."),
]
SAMPLER_STEPS = Annotated[
    int | None,
    typer.Option(min=1, help="Denoising steps of sample:COUNT; default the run's setting, or 50 or all timesteps."),
]
LATENTS = Annotated[
    Literal["mode", "sample"] | None,
    typer.Option(help="Gradients at the mean of latents, or at a sample of them at each draw; default as trained."),
]
ADAPTER = Annotated[
    list[str] | None,
    typer.Option(help="LoRA file or folder on top of the model, as FILE or FILE:STRENGTH; may be repeated."),
]
CLASSES = Annotated[
    Path | None,
    typer.Option(
        help="Of a model of classes: a file with the name of label k in line k, from 0, or JSON; default the names in "
        "its model_index.json."
    ),
]
PROMPTS = Annotated[Path | None, typer.Option(help="Text file with a prompt in each line; see --prompt.")]
PROMPT = Annotated[
    list[str] | None, typer.Option(help="A prompt of sample:COUNT; repeated, pictures get them in turn.")
]
QUERY_PROMPT = Annotated[
    list[str] | None,
    typer.Option(
        help="What the pictures are drawn from, or were drawn from if they are read and have no captions; repeated, "
        "pictures get them in turn."
    ),
]
NEGATIVE_PROMPT = Annotated[str | None, typer.Option(help="What pictures are guided away from; default nothing.")]
GUIDANCE = Annotated[
    float | None,
    typer.Option(
        help="Scale of classifier-free guidance of pictures that are drawn; 1 is none; default that of the model's "
        "pipeline. For drawing alone."
    ),
]
MASK = Annotated[
    Path | None,
    typer.Option(
        help="The region of the pictures that is explained: an image in grey, white inside, or a folder of images with "
        "the names of the pictures."
    ),
]
WITHOUT_PROMPT = Annotated[
    list[str] | None,
    typer.Option(
        help="The prompt without the concept that is explained; one for all, or repeated one for each picture in the "
        "order of their names."
    ),
]
PREFILTER = Annotated[
    str | None,
    typer.Option(
        help="Take gradients only of the COUNT images most similar to each picture, and of as many others, which say "
        "what was lost: latent:COUNT, pixel:COUNT or embedding:FOLDER:COUNT.",
        metavar="NAME:COUNT",
    ),
]
SAMPLES = Annotated[list[str], typer.Option(help="SEED/INDEX or SEED/FIRST-LAST; may be repeated.")]
SCORES = Annotated[
    list[Path], typer.Argument(help="What `whence attribute` wrote: OUT with its methods, or OUT/d-trak.")
]
BANK = Annotated[str, typer.Option(help="The retrained models: a directory, or `digits`, which comes with Whence.")]
POOL = Annotated[
    str, typer.Option(help="Which of them: `test`, `development` (to choose knobs), `deterministic-10%` ...")
]
KINDS = Annotated[Literal["all", "held-out", "drawn"], typer.Option(help="Kinds of queries, each a table.")]
USE = Annotated[
    Literal["reported", "development"], typer.Option(help="Queries for reported figures, or to choose knobs on.")
]
LABELLED_DATA = Annotated[
    str | None, typer.Option(help="The training images, if the scores don't hold these units: name --unit-column.")
]
CREDIT = Annotated[Path, typer.Argument(help="What `whence credit compute` wrote.", metavar="CREDIT")]
ESTIMATOR = Annotated[str | None, typer.Option(help="By which shares; default the first that add up.")]


def read_process(file: Path | None) -> ProcessConfig | None:
    """Return the settings of the process in a file; None where there are none."""
    from whence.config import read_config

    return read_config(file).process


def shard_of(text: str | None) -> tuple[int, int]:
    """Return I and N of ``I/N``; all of it is 1/1."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", "1/1" if text is None else text)
    index, shards = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= shards:
        raise ConfigError(f"A part is I/N with I from 1 to N, such as 2/4; given {text!r}.")
    return index, shards
