"""Making a bank: its data and queries, its reference models, and pools of models retrained on random subsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.config import Config
from whence.data import Dataset, read, write
from whence.diffusion.adapter_run import load_run
from whence.diffusion.prompts import Prompts
from whence.diffusion.training import train
from whence.engine import DEFAULT, Engine, Task, silent
from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.bank_request import BankConfig, BankRequest
from whence.evaluation.bank.pool import KIND as POOL
from whence.evaluation.bank.pool import Pool, PoolRequest, select_shard
from whence.evaluation.bank.stored_bank import KIND
from whence.retraining.measurement import draw_pixels, measure
from whence.retraining.retrain import Retraining, retrain
from whence.retraining.rule import PATIENCE
from whence.seeds import derived_seed

#: Seconds that a part of a pool waits for other parts, which begin at the same moment.
PATIENCE_OF_SHARDS = 5.0


def build_bank(
    data: Dataset,
    held_out: Dataset | None,
    path: str | Path,
    *,
    config: Config | None = None,
    settings: BankConfig | None = None,
    base: str | Path | None = None,
    prompts: Prompts | None = None,
    autoencoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
    engine: Engine = DEFAULT,
) -> Bank:
    """Return the base of a bank: train the reference models and draw the queries. `build_pool` fills the bank.

    With the `base` of a text-to-image model the models are LoRA adapters on it, by the settings `config.adapter`.

    Args:
        data: The training examples.
        held_out: Pictures that training never sees, the first of which become queries; None for none.
        path: The bank's directory.
        config: Settings of a model that is trained on everything, and of the sampler.
        settings: How many models and queries the bank has, and how it measures them.
        base: The folder of the base of adapters, or ``styles``.
        prompts: What models that take text draw the queries from; default the captions of the training examples, in
            turn.
        autoencoder: The folder of an autoencoder, or ``styles``: the models are networks of its latents.
        text_encoder: The folder whose text encoder embeds the captions of networks of latents, or ``styles``.
        engine: Where work runs. Its report is called with (training steps done, steps in all).

    Raises:
        DataError: Held-out pictures are too few, of another size, among the training examples, or named like drawn
            ones.
        ConfigError: There are to be no queries, or they can't be drawn.
        MismatchError: The directory holds a bank of something else.
    """
    encoders = {"autoencoder": autoencoder, "text_encoder": text_encoder}
    request = BankRequest.make(data, held_out, config, settings, base, prompts, encoders)
    return make_bank(request, Path(path), engine=engine)


def make_bank(request: BankRequest, path: Path, *, engine: Engine = DEFAULT) -> Bank:
    """Make the base of a bank; see `build_bank`. If it was interrupted, it continues."""

    def build(part: Path) -> dict[str, Any]:
        write(request.data, part / "data")
        request.training.examples(part)
        _train_references(part, request, engine)
        write(_queries(part, request, engine.reporting(silent)), part / "queries")
        return request.training.facts(path)

    artefacts.ensure(path, KIND, **request.provenance, build=build, patience=PATIENCE)
    return Bank.open(path)


def measure_references(bank: Bank, engine: Engine = DEFAULT) -> Pool:
    """Measure the reference models, unless that was done before, and return them: `Bank.reference`."""
    inputs, made = {"bank": bank.manifest.fingerprint}, {"reference": len(bank.models)}
    path = bank.path / "reference"
    if artefacts.existing(path, POOL, inputs=inputs, made=made) is None:
        measurements = []
        for model in bank.models:
            measurements.append(measure(load_run(model, bank.base), bank.plan, engine=engine))
            engine.report(len(measurements), len(bank.models))
        seeds = tuple(reference_seed(bank.manifest.made["seed"], k) for k in range(len(measurements)))
        everything = np.ones((1, len(bank.examples)), bool)
        Pool.of("reference", everything, seeds, measurements).write(path, inputs, made)
    return bank.reference


def reference_seed(seed: int, k: int) -> int:
    """The training seed of reference model k."""
    return derived_seed(seed, f"reference {k}")


def _train_references(part: Path, request: BankRequest, engine: Engine) -> None:
    """Train the models that are attributed; only the first keeps checkpoints."""
    tasks = []
    for k in range(request.settings.models):
        config = request.config.updated("training", seed=reference_seed(request.settings.seed, k))
        config = config.updated("training", checkpoints=0) if k else config
        folder = part / "models" / str(k)
        if not (folder / artefacts.MANIFEST).exists():
            arguments: dict[str, Any] = {"data": str(part / "data"), "path": str(folder), "config": config}
            arguments |= {"parts": request.parts(part)}
            tasks.append(Task(f"model {k}", train_reference, arguments, config.training.steps))
    if tasks:
        engine.run(tasks)


def train_reference(data: str, path: str, config: Config, parts: Mapping[str, Any], engine: Engine) -> None:
    """Train a reference model; a task for the engine."""
    train(read(Path(data)), path, config, **parts, engine=engine, patience=PATIENCE)


def _queries(part: Path, request: BankRequest, engine: Engine) -> Dataset:
    """Held-out and drawn pictures in one data set; units say which is which."""
    names, held_out = request.settings.drawn_names, request.held_out
    model, prompts = load_run(part / "models" / "0", request.base), request.prompts
    pixels = draw_pixels(model, request.config.sampler, names, engine, prompts)
    units, nothing = (("drawn",),) * len(names), (None,) * len(names)
    captions: tuple[str | None, ...] = nothing if prompts is None else prompts.of(names)
    if held_out is None:
        return Dataset(names, pixels, units, captions)
    return Dataset(
        (*held_out.ids, *names),
        np.concatenate([held_out.pixels, pixels]),
        (*[("held out",)] * len(held_out), *units),
        (*held_out.captions, *captions),
        classes=(*held_out.classes, *nothing),
    )


def build_pool(
    bank: Bank,
    request: PoolRequest,
    *,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    engine: Engine = DEFAULT,
) -> Pool | None:
    """Retrain models on random subsets and measure them; if it was interrupted, it continues.

    A shard (i, n) is the i-th of n parts, counted from 1: only its models are trained, and the pool stays unfinished.
    The call without it, when the measurements of all parts are in ``runs``, makes the pool. `keep_models` keeps the
    weights of the models that are trained, as ``runs/POOL/RUN.model``. The engine's report is called with (training
    steps done, steps in all).

    Returns:
        The pool; None for a part of several.

    Raises:
        ConfigError: The fraction, shard or number of subsets is impossible.
        MismatchError: There is a pool of that name that was made otherwise.
        LockedError: Another process is making the pool, or the same part of it; or for the whole pool, any part of it.
    """
    made = {name: value for name, value in asdict(request).items() if name != "name"}
    path, folder = bank.path / "pools" / request.name, bank.path / "runs" / request.name
    inputs: dict[str, Any] = {"bank": bank.manifest.fingerprint}
    if artefacts.existing(path, POOL, inputs=inputs, made=made) is not None:
        return Pool.read(path)
    retrainings, kept, seeds = plan_pool(bank, request)
    part = select_shard(retrainings, shard)
    with _only_writer(folder, shard):
        if artefacts.existing(path, POOL, inputs=inputs, made=made) is not None:
            return Pool.read(path)
        measurements = retrain(bank, folder, part, keep_models=keep_models, engine=engine)
        if shard[1] > 1:
            return None
        pool = Pool.of(request.name, kept, seeds, measurements)
        pool.write(path, inputs, made)
        if not keep_models:
            artefacts.discard(folder)
    return pool


@contextmanager
def _only_writer(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold the right to make a part of a pool, or all of it while nobody makes a part.

    Another writer would lose the measurements that the whole pool gathers and removes.
    """
    with ExitStack() as held:
        if shard[1] == 1:
            held.enter_context(artefacts.lock(folder))
            for file in folder.parent.glob(f".{escape(folder.name)}-*-of-*.lock"):
                held.enter_context(artefacts.lock(folder.with_name(file.name[1:].removesuffix(".lock"))))
        else:
            with artefacts.lock(folder, PATIENCE_OF_SHARDS):
                held.enter_context(artefacts.lock(folder.with_name(f"{folder.name}-{shard[0]}-of-{shard[1]}")))
        yield


def plan_pool(bank: Bank, request: PoolRequest) -> tuple[list[Retraining], np.ndarray, tuple[int, ...]]:
    """Return the models of a pool, subset by subset, then seed by seed, its subsets bool [S, N], and its seeds."""
    seed = bank.manifest.made["seed"]
    kept = request.subsets(bank.classes, seed)
    seeds = tuple(derived_seed(seed, f"retraining {k}") for k in range(request.seeds))
    if request.deterministic:
        seeds = (reference_seed(seed, 0),)
    pairs = [(np.flatnonzero(row), training_seed) for row in kept for training_seed in seeds]
    retrainings = [
        bank.retraining(name, rows, training_seed, weighted=request.deterministic)
        for name, (rows, training_seed) in zip(request.runs, pairs, strict=True)
    ]
    return retrainings, kept, seeds
