"""Building a bank: reference models, queries, and pools of models retrained on subsets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from whence import artefacts
from whence.config import Config, Settings
from whence.data import Dataset, write
from whence.diffusion.process import DiffusionModel
from whence.diffusion.sizes import suit
from whence.diffusion.training import train
from whence.engine import Report, Task, run, silent
from whence.errors import ConfigError, DataError
from whence.evaluation.bank.bank import KIND, Bank
from whence.evaluation.bank.measure import draw_again
from whence.evaluation.bank.pool import KIND as POOL
from whence.evaluation.bank.pool import Pool
from whence.evaluation.bank.retrain import PATIENCE, Measured, Retraining, retrain
from whence.evaluation.bank.subsets import subsets
from whence.seeds import derived_seed

#: Seed of the names of drawn queries.
DRAWN_SEED = 0


class BankConfig(Settings):
    """What a bank asks of its models."""

    models: Annotated[int, Field(ge=1)] = Field(4, description="Reference models, trained on everything.")
    held_out: Annotated[int, Field(ge=0)] = Field(100, description="Queries that training never saw.")
    drawn: Annotated[int, Field(ge=0)] = Field(100, description="Queries that the first reference model draws.")
    draws: Annotated[int, Field(ge=1)] = Field(128, description="Draws at which the loss of a query is measured.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of subsets, trainings and measurements.")


def build_bank(
    data: Dataset,
    held_out: Dataset | None,
    path: str | Path,
    *,
    config: Config | None = None,
    settings: BankConfig | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Bank:
    """Begin a bank: train the reference models and draw the queries. `build_pool` fills it.

    Args:
        data: The training examples.
        held_out: Pictures that training never sees, the first of which become queries; None for none.
        path: The bank's directory.
        config: Settings of a model that is trained on everything, and of the sampler.
        settings: What the bank asks.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).

    Returns:
        The bank, without pools.

    Raises:
        DataError: Held-out pictures are too few, of another size, or among the training examples.
        MismatchError: The directory holds a bank of something else.
    """
    path, settings = Path(path), settings or BankConfig()
    config = suit(config or Config().updated("sampler", method="ddim"), data.size)
    asked = _held_out(data, held_out, settings.held_out)
    inputs = {"data": data.fingerprint, "held_out": asked.fingerprint if asked else None}
    made = {"config": config.record(), **settings.record()}
    if artefacts.existing(path, KIND, inputs=inputs, made=made) is None:
        with artefacts.create(path, KIND, inputs=inputs, made=made, patience=PATIENCE) as part:
            write(data, part / "data")
            _train_references(part, data, config, settings, workers, report)
            write(_queries(part, asked, config, settings), part / "queries")
    return Bank.open(path)


def reference_seed(seed: int, k: int) -> int:
    """The training seed of reference model k."""
    return derived_seed(seed, f"reference {k}")


def _train_references(
    part: Path, data: Dataset, config: Config, settings: BankConfig, workers: int | None, report: Report
) -> None:
    """Train the models that are attributed; only the first keeps checkpoints."""
    tasks = []
    for k in range(settings.models):
        own = config.updated("training", seed=reference_seed(settings.seed, k))
        own = own.updated("training", checkpoints=0) if k else own
        folder = part / "models" / str(k)
        if not (folder / artefacts.MANIFEST).exists():
            arguments = {"data": str(part / "data"), "path": str(folder), "config": own}
            tasks.append(Task(f"model {k}", train_reference, arguments, own.training.steps))
    if tasks:
        run(tasks, workers=workers, report=report)


def train_reference(data: str, path: str, config: Config, report: Report) -> None:
    """Train a reference model; a task for the engine."""
    from whence.data import read

    train(read(Path(data)), path, config, report=report, patience=PATIENCE)


def _held_out(data: Dataset, held_out: Dataset | None, count: int) -> Dataset | None:
    """Return the first held-out pictures.

    Raises:
        DataError: They are too few, of another size, or among the training examples.
    """
    if count == 0:
        return None
    if held_out is None or len(held_out) < count:
        raise DataError(
            f"{count} held-out queries were asked for, there are {len(held_out) if held_out else 0}. Give data with "
            "more held-out pictures, or ask for fewer."
        )
    if held_out.size != data.size:
        raise DataError(f"Held-out pictures are {held_out.size}, training examples {data.size} (C, H, W).")
    chosen = held_out.select(range(count))
    both = set(chosen.fingerprints) & set(data.fingerprints)
    if both:
        name = next(i for i, print_ in zip(chosen.ids, chosen.fingerprints, strict=True) if print_ in both)
        raise DataError(f"{len(both)} held-out pictures are training examples too, such as {name!r}.")
    return chosen


def _queries(part: Path, held_out: Dataset | None, config: Config, settings: BankConfig) -> Dataset:
    """Held-out and drawn pictures in one data set; units say which is which."""
    names = [f"{DRAWN_SEED}/{index}" for index in range(settings.drawn)]
    model = DiffusionModel.load(part / "models" / "0")
    pixels = draw_again(model, config.sampler, names)
    ids, units, captions = list(names), [("drawn",)] * len(names), [None] * len(names)
    if held_out is None:
        return Dataset(tuple(ids), pixels, tuple(units), tuple(captions))
    return Dataset(
        (*held_out.ids, *ids),
        np.concatenate([held_out.pixels, pixels]),
        (*[("held out",)] * len(held_out), *units),
        (*held_out.captions, *captions),
    )


def build_pool(
    bank: Bank,
    name: str,
    *,
    count: int,
    fraction: float = 0.5,
    seeds: int = 1,
    deterministic: bool = False,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> Pool | None:
    """Retrain models on random subsets and measure them; killed, it continues.

    Args:
        bank: The bank.
        name: What the pool is called; its subsets depend on it.
        count: Subsets.
        fraction: Share of the examples that each keeps.
        seeds: Training seeds of each subset, the same for all.
        deterministic: Instead of new seeds, the run of the first reference model with weight 0 for the others.
        shard: (i, n): train only the i-th of n parts, counted from 1.
        keep_models: Keep the weights of all models.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).

    Returns:
        The pool; None while other shards are missing.

    Raises:
        ConfigError: The fraction, shard or number of subsets is impossible.
        MismatchError: There is a pool of that name that was made otherwise.
    """
    made = {"count": count, "fraction": fraction, "seeds": seeds, "deterministic": deterministic}
    place, folder = bank.path / "pools" / name, bank.path / "runs" / name
    inputs: dict[str, Any] = {"bank": bank.manifest.fingerprint}
    if artefacts.existing(place, POOL, inputs=inputs, made=made) is not None:
        return Pool.read(place)
    wanted, kept, training_seeds = pool_plan(bank, name, count, fraction, seeds, deterministic)
    index, shards = shard
    if not 1 <= index <= shards:
        raise ConfigError(f"A shard is I/N with I from 1 to N; given {index}/{shards}.")
    retrain(bank, folder, wanted[index - 1 :: shards], keep_models=keep_models, workers=workers, report=report)
    if any(not (folder / one.name / artefacts.MANIFEST).exists() for one in wanted):
        return None
    found = [Measured.read(folder / one.name) for one in wanted]
    shape = (count, len(training_seeds))
    losses = np.stack([one.losses for one in found]).reshape(*shape, -1)
    pictures = np.stack([one.pictures for one in found])
    weights = np.array([one.weights for one in found]).reshape(shape).tolist()
    pool = Pool(
        name, kept, training_seeds, losses, pictures.reshape(*shape, *pictures.shape[1:]), tuple(map(tuple, weights))
    )
    pool.write(place, inputs, made)
    if not keep_models:
        shutil.rmtree(folder, ignore_errors=True)
    return pool


def pool_plan(
    bank: Bank, name: str, count: int, fraction: float, seeds: int, deterministic: bool
) -> tuple[list[Retraining], np.ndarray, tuple[int, ...]]:
    """Return what a pool trains, subset by subset and seed by seed, its subsets bool [S, N], and the seeds."""
    seed = bank.manifest.made["seed"]
    kept = subsets(bank.classes, fraction, count, seed, name)
    training_seeds = tuple(derived_seed(seed, f"retraining {k}") for k in range(seeds))
    if deterministic:
        training_seeds = (reference_seed(seed, 0),)
    wanted = [
        Retraining(f"{s:03d}-{k}", tuple(np.flatnonzero(kept[s]).tolist()), training_seed, deterministic)
        for s in range(count)
        for k, training_seed in enumerate(training_seeds)
    ]
    return wanted, kept, training_seeds
