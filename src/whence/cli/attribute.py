"""The command `whence attribute`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.attribution_options import read_attribution_config
from whence.cli.data import load_data
from whence.cli.distil import RANKER, ranked_methods
from whence.cli.header_claims import TRUST_HEADER, TrustedHeader
from whence.cli.options import (
    ADAPTER,
    BUCKETS,
    CAPTION_COLUMN,
    CLASSES,
    DATA,
    GREY,
    GUIDANCE,
    LATENTS,
    MASK,
    NEGATIVE_PROMPT,
    PLAN,
    PREFILTER,
    PROCESS,
    PROMPTS,
    QUERY_PROMPT,
    RESOLUTION,
    SAMPLER,
    SAMPLER_STEPS,
    SKIP_BAD,
    SPLIT,
    UNIT_COLUMN,
    WITHOUT_PROMPT,
    WORKERS,
    read_process,
)
from whence.cli.scores import planned_cost, show_scores
from whence.cli.show import progress, show_cost, show_notes, show_work
from whence.cli.top import TOP, attribute_top

if TYPE_CHECKING:
    from whence.attribution.target import Target
    from whence.config import LatentChoice


MODEL = Annotated[
    str,
    typer.Argument(
        help="What drew the pictures: a run of `whence train`, an ensemble, a diffusers folder, or the base `styles`."
    ),
]
QUERIES = Annotated[
    str,
    typer.Option(
        help="The pictures that are asked about: sample:COUNT or sample:COUNT@SEED that the model draws now, an "
        "image, a folder of images, samples of an ensemble, or other data like DATA."
    ),
]
METHOD = Annotated[
    list[str], typer.Option(help="See `whence methods`; NAME-checkpoints for a mean over them; may be repeated.")
]
DRAWS = Annotated[
    int,
    typer.Option(help="Draws (timestep, noise) per picture, best a multiple of 64; more later extend them."),
]
DAMPING = Annotated[
    str | None,
    typer.Option(
        help="Damping of the kernel as a multiple of its mean eigenvalue; default the method's own. `auto`: for "
        "tangent and tangent-squared, the ridge of the recorded training, from its learning rates and batches.",
        metavar="NUMBER|auto",
    ),
]
ALSO = Annotated[
    list[str] | None,
    typer.Option(help="A further model, such as another seed of the training; scores are the mean. May be repeated."),
]
STORE = Annotated[
    Path | None, typer.Option(help="Folder for features, to share them among several OUT; default OUT/features.")
]
PARAMETERS = Annotated[
    str | None,
    typer.Option(
        help="Layers to differentiate, by a regular expression in their names, like 'attn2'; default adapters or all."
    ),
]
BASE = Annotated[
    str | None,
    typer.Option(help="Where the base of a run of an adapter is now; default where it was when the run was trained."),
]
HALF = Annotated[bool, typer.Option("--half", help="Keep features in half precision; they can't be extended.")]
BFLOAT16 = Annotated[bool, typer.Option("--bfloat16", help="Run the network in bfloat16, which pays on GPUs.")]


def attribute(
    model: MODEL,
    data: DATA,
    queries: QUERIES,
    out: Annotated[Path, typer.Option(help="Folder for scores, features and pictures.")],
    method: METHOD = ["tangent-squared"],  # noqa: B006
    ranker: RANKER = None,
    draws: DRAWS = 128,
    damping: DAMPING = None,
    width: Annotated[int | None, typer.Option(help="Features per gradient, at most; default 4096.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    prefilter: PREFILTER = None,
    also: ALSO = None,
    store: STORE = None,
    half: HALF = False,
    bfloat16: BFLOAT16 = False,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    buckets: BUCKETS = None,
    grey: GREY = False,
    skip_bad: SKIP_BAD = False,
    sampler: SAMPLER = None,
    sampler_steps: SAMPLER_STEPS = None,
    prompts: PROMPTS = None,
    prompt: QUERY_PROMPT = None,
    negative_prompt: NEGATIVE_PROMPT = None,
    guidance: GUIDANCE = None,
    mask: MASK = None,
    without_prompt: WITHOUT_PROMPT = None,
    adapter: ADAPTER = None,
    classes: CLASSES = None,
    base: BASE = None,
    parameters: PARAMETERS = None,
    latents: LATENTS = None,
    process: PROCESS = None,
    trust_header: TRUST_HEADER = False,
    workers: WORKERS = None,
    top: TOP = None,
    plan: PLAN = False,
) -> None:
    """Estimate how strongly each training image is tied to each picture, by gradients, for any diffusion model.

    Positive scores are proponents: training on the image pulled the model towards the picture. They are estimates, with
    standard errors of the draws. Interrupted, the same command continues; with more --draws or methods it adds to them.

    Example: `whence attribute runs/single digits --queries sample:16 --method tangent --method d-trak --out scores/`
    """
    config = read_attribution_config(draws, damping, width, seed, half, bfloat16, latents, prefilter)
    header = TrustedHeader.of(adapter, trust_header)
    size: dict[str, Any] = {"resolution": resolution or header.resolution, "buckets": buckets, "grey": grey}
    columns = {"unit_column": unit_column, "caption_column": caption_column}
    images = load_data(data, out, split=split, skip_bad=skip_bad, **columns, **size)
    target = _target(header, [model, *(also or [])], size["resolution"], base, process, classes)
    images, target = header.apply(images, target)
    _show_encoding(target, images, out, latents)
    texts = (prompts, prompt or (), negative_prompt, guidance)
    shown = _queries(target, queries, texts, {"method": sampler, "steps": sampler_steps, **size}, mask, without_prompt)
    _attribute((target, images, shown, method, config, parameters), ranker, out, store, workers, top, plan)


def _attribute(
    asked: tuple[Any, ...],
    ranker: Path | None,
    out: Path,
    store: Path | None,
    workers: int | None,
    top: int | None,
    plan: bool,
) -> None:
    """Compute the scores of a request of these arguments and print the first, or print what they cost."""
    request = (*asked[:3], ranked_methods(asked[3], ranker), *asked[4:])
    if plan:
        return show_cost(planned_cost(request, out, store, workers, top), out)
    if top is not None:
        return attribute_top(request, out, store, workers, top)
    *what, config, parameters = request
    with show_work("gradients", workers) as engine, progress("scores") as scored:
        chosen: dict[str, Any] = {"config": config, "parameters": parameters, "engine": engine}
        scores = whence.attribute(*what, out=out, store=store, scored=scored, **chosen)
    show_scores(scores, out)


def _target(
    header: TrustedHeader,
    models: list[str],
    resolution: int | None,
    base: str | None,
    process: Path | None,
    classes: Path | None,
) -> Target:
    """Return the mean over the models, with the adapters."""
    from whence.attribution.target import Target

    settings = header.with_process(read_process(process))
    return Target.mean(models, header.adapters, resolution, base, settings, classes)


def _show_encoding(target: Target, images: whence.Dataset, out: Path, latents: LatentChoice | None) -> None:
    """Encode the training images where the model needs it, and print the notes on them."""
    from whence.attribution.training_examples import training_examples
    from whence.diffusion.encoding import FOLDER

    show_notes(training_examples(target, images, out / FOLDER, latents).notes, of="the training images")


def _queries(
    target: Target,
    source: str,
    texts: tuple[Path | None, Sequence[str], str | None, float | None],
    drawing: dict[str, Any],
    mask: Path | None,
    without: Sequence[str] | None,
) -> whence.Examples:
    """Return the queries with the part of them that is explained, and print the notes on them."""
    from whence.attribution.query_focus import focused
    from whence.diffusion.prompts import Prompts

    prompts = Prompts.read(*texts)
    queries = target.queries(source, prompts=prompts, **drawing)
    _show_drawing(target, queries)
    return focused(target, queries, mask, without or (), drawing["resolution"])


def _show_drawing(target: Target, queries: whence.Examples) -> None:
    """Print the notes on the queries, and what of the model's scheduler is not followed."""
    show_notes(queries.notes, of="the queries")
    if queries.origin is not None and target.model.process.not_followed:
        drawn = f"{queries.origin.sampler.method.upper()} in {queries.origin.sampler.steps} steps"
        others = ", ".join(target.model.process.not_followed)
        show_notes([f"Pictures are drawn by {drawn}, which does not follow the model's scheduler in: {others}."])
