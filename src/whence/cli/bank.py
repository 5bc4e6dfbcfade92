"""The commands `whence bank ...`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.data import follow_recipe, load_beside, load_data
from whence.cli.options import (
    CAPTION_COLUMN,
    CLASSES,
    CONFIG,
    DATA,
    GREY,
    GUIDANCE,
    NEGATIVE_PROMPT,
    PLAN,
    PROMPT,
    PROMPTS,
    RESOLUTION,
    SKIP_BAD,
    SPLIT,
    STEPS,
    WORKERS,
    shard_of,
)
from whence.cli.show import say, show_cost, show_work
from whence.cli.training import AUTOENCODER, BASE, CAPTION_DROPOUT, RANK, TEXT_ENCODER, with_adapter
from whence.diffusion.prompts import Prompts
from whence.errors import ArtefactError, DataError, SplitError

if TYPE_CHECKING:
    from whence.evaluation.bank.bank_request import BankRequest

DEVELOPMENT = Annotated[
    int, typer.Option(min=0, help="Subsets of the pool `development`, for choosing settings; one training seed.")
]
DETERMINISTIC = Annotated[
    int,
    typer.Option(
        min=0,
        help="Subsets of each of the pools `deterministic-1%`, `-10%` and `-50%`, such as 24: the first reference "
        "model's own run, with weight 0 for as many examples.",
    ),
]
HELD_OUT = Annotated[
    str | None,
    typer.Option(
        help="Pictures that training never sees, named like DATA; default the split test or validation of DATA."
    ),
]
MODELS = Annotated[
    int, typer.Option(min=1, help="Reference models, trained on all examples: the models that are attributed.")
]
SEED = Annotated[
    int | None,
    typer.Option(min=0, help="Seed of subsets, trainings and measurements; default that of --config, 0."),
]
SHARD = Annotated[
    str | None, typer.Option(help="I/N: train only the I-th of N parts of the models, such as 2/4.", metavar="I/N")
]
KEEP_MODELS = Annotated[
    bool, typer.Option("--keep-models", help="Keep the weights of all models, not only their measurements.")
]


def build(
    data: DATA,
    out: Annotated[Path, typer.Option(help="The directory of the bank.")],
    subsets: Annotated[int, typer.Option(min=0, help="Subsets of the pool `test`, for the reported figures.")] = 64,
    fraction: Annotated[float, typer.Option(help="Share of the training examples that each subset keeps.")] = 0.5,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of each subset of `test`.")] = 3,
    development: DEVELOPMENT = 32,
    deterministic: DETERMINISTIC = 0,
    held_out: HELD_OUT = None,
    held_out_count: Annotated[int, typer.Option(min=0, help="How many of them become queries.")] = 100,
    drawn: Annotated[int, typer.Option(min=0, help="Queries that the first reference model draws.")] = 100,
    draws: Annotated[int, typer.Option(min=1, help="Draws at which the loss of each query is measured.")] = 128,
    models: MODELS = 4,
    examples: Annotated[int | None, typer.Option(min=1, help="Only the first so many training examples.")] = None,
    steps: STEPS = None,
    seed: SEED = None,
    base: BASE = None,
    autoencoder: AUTOENCODER = None,
    text_encoder: TEXT_ENCODER = None,
    rank: RANK = None,
    caption_dropout: CAPTION_DROPOUT = None,
    classes: CLASSES = None,
    prompts: PROMPTS = None,
    prompt: PROMPT = None,
    negative_prompt: NEGATIVE_PROMPT = None,
    guidance: GUIDANCE = None,
    split: SPLIT = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    skip_bad: SKIP_BAD = False,
    config: CONFIG = None,
    shard: SHARD = None,
    keep_models: KEEP_MODELS = False,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Train models on recorded subsets of the data and measure them: the ground truth for `whence evaluate`.

    Reference models are trained on all examples. Queries are held-out pictures, and pictures that the first of them
    draws. Then models are trained on random subsets, stratified by class, and measured on the queries. Interrupted, the
    same command continues. With --base the models are LoRA adapters, with --autoencoder networks of latents. On several
    machines: make the base with --subsets 0 --development 0, copy it to each, and give --shard 1/4, 2/4 ...

    Example: `whence bank build digits --examples 500 --subsets 64 --seeds 3 --out bank/ --plan`
    """
    from whence.evaluation.bank import bank_request, usual_pools

    how: dict[str, Any] = {"caption_column": caption_column, "resolution": resolution, "grey": grey}
    images = select_first(load_data(data, out, split=split, skip_bad=skip_bad, **how), examples)
    others = held_out_pictures(data, split, held_out, **how)
    own = follow_recipe(settings_of(config, base, steps=steps, caption_dropout=caption_dropout), images)
    run = with_adapter(own, base, {"rank": rank}, resolution, classes)
    seed = own.training.seed if seed is None else seed
    settings = whence.BankConfig(models=models, held_out=held_out_count, drawn=drawn, draws=draws, seed=seed)
    encoders = {"autoencoder": autoencoder, "text_encoder": text_encoder}
    texts = Prompts.read(prompts, prompt or (), negative_prompt, guidance)
    request = bank_request.BankRequest.make(images, others, run, settings, base, texts, encoders)
    pools = usual_pools(subsets, fraction=fraction, seeds=seeds, development=development, deterministic=deterministic)
    (show_bank_cost if plan else train_bank)(request, pools, out, shard_of(shard), keep_models, workers)


def require_possible(pools: tuple[whence.PoolRequest, ...], request: BankRequest) -> None:
    """Refuse pools whose subsets can't be made, before anything is trained."""
    from whence.retraining.subsets import classes_of

    for pool in pools:
        pool.subsets(classes_of(request.data), request.settings.seed)


def show_bank_cost(
    request: BankRequest,
    pools: tuple[whence.PoolRequest, ...],
    out: Path,
    part: tuple[int, int],
    keep_models: bool,
    workers: int | None,
) -> None:
    """Print the cost of the missing models of a bank, or of a part of them."""
    from whence.evaluation.bank.bank_request import bank_cost

    require_possible(pools, request)
    engine = whence.Engine(workers)
    show_cost(bank_cost(request, pools, out, shard=part, keep_models=keep_models, engine=engine), out)


def train_bank(
    request: BankRequest,
    pools: tuple[whence.PoolRequest, ...],
    out: Path,
    part: tuple[int, int],
    keep_models: bool,
    workers: int | None,
) -> None:
    """Make the base of a bank and its pools, or a part of them, and say what to do next."""
    from whence.evaluation.bank import measure_references
    from whence.evaluation.bank.make_bank import make_bank

    require_possible(pools, request)
    if part[0] > 1:
        require_base(out, part)
    models = request.settings.models
    with show_work(f"training {models} reference models", workers) as engine:
        bank = make_bank(request, out, engine=engine)
    with show_work("measuring reference models") as engine:
        measure_references(bank, engine)
    say(f"{out} has its base: {models} reference models and {len(bank.queries)} queries.")
    for pool in pools:
        with show_work(f"training pool {pool.name}", workers) as engine:
            whence.build_pool(bank, pool, shard=part, keep_models=keep_models, engine=engine)
    for line in closing_lines(bank.path, pools, part):
        say(line)


def select_first(images: whence.Dataset, count: int | None) -> whence.Dataset:
    """Return the first training examples."""
    if count is not None and count > len(images):
        raise DataError(
            f"--examples {count:,} asks for more training examples than the {len(images):,} that there are."
        )
    return images if count is None else images.select(range(count))


def held_out_pictures(data: str, split: str | None, held_out: str | None, **options: Any) -> whence.Dataset | None:
    """Return the pictures that training never sees, read as the data: of --held-out, or another split of the data."""
    from whence.data.load import name_and_split

    if held_out is not None:
        return load_beside(held_out, **options)
    name, used = name_and_split(data, split)
    for other in ("test", "validation"):
        if other != used:
            with suppress(SplitError):
                return load_beside(name, split=other, **options)
    return None


def settings_of(config: Path | None, base: str | None = None, **training: Any) -> whence.Config:
    """Return the settings of a model that is trained on everything; the sampler is DDIM but for bases and flows."""
    settings = whence.read_config(config)
    if base is None and not settings.model.is_flow and "method" not in settings.sampler.said:
        settings = settings.updated("sampler", method="ddim")
    return settings.updated("training", **training)


def require_base(bank: Path, part: tuple[int, int]) -> None:
    """Refuse to make the base on every machine anew: the parts of a bank share one."""
    from whence import artefacts

    if not (bank / artefacts.MANIFEST).exists():
        raise ArtefactError(
            f"{bank} has no base yet. All parts share the reference models and queries: make them once, with "
            f"--subsets 0 --development 0 or with --shard 1/{part[1]}, and copy the directory {bank} here."
        )


def closing_lines(bank: Path, pools: tuple[whence.PoolRequest, ...], part: tuple[int, int]) -> list[str]:
    """Return what was made, and what comes next, a line each."""
    if part[1] > 1:
        missing = sum(len(pool.missing(bank)) for pool in pools)
        rest = f"{missing:,} models of other parts are not here" if missing else "all other parts are here"
        return [
            f"Part {part[0]} of {part[1]} is trained and measured; {rest}.",
            f"When all parts are done, copy what is in {bank / 'runs'} on each machine into that of one of them, and "
            "run this command there without --shard: it gathers the measurements.",
        ]
    if not pools:
        return [f"To train on several machines, copy {bank} to each and run there with --shard 1/N, 2/N ..."]
    names = ", ".join(pool.name for pool in pools)
    return [f"{bank} is whole: {names}.", f"Next: whence bank show {bank}"]
