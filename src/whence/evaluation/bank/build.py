"""Filling a bank: pools of models that are retrained on random subsets, and measured."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.engine import Report, silent
from whence.errors import ConfigError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.base import reference_seed
from whence.evaluation.bank.pool import KIND, Pool
from whence.evaluation.bank.retrain import Retraining, retrain
from whence.evaluation.bank.subsets import subsets
from whence.seeds import derived_seed

#: Shares of the examples that deterministic pools remove.
REMOVED = {"1%": 0.99, "10%": 0.9, "50%": 0.5}


@dataclass(frozen=True)
class PoolRequest:
    """A pool that is wanted.

    Attributes:
        name: What it is called; its subsets depend on it.
        count: Subsets, S.
        fraction: Share of the examples that each keeps.
        seeds: Training seeds of each subset, the same for all.
        deterministic: Instead of new seeds, the run of the first reference model with weight 0 for the others.
    """

    name: str
    count: int
    fraction: float = 0.5
    seeds: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Check that there is something to train.

        Raises:
            ConfigError: There is not, or a run is to be repeated with several seeds.
        """
        if self.count < 1 or self.seeds < 1 or (self.deterministic and self.seeds > 1):
            raise ConfigError(
                f"The pool {self.name!r} of {self.count} subsets and {self.seeds} training seeds can't be made: one of "
                "both is the least, and a run is repeated with its own seed alone."
            )

    def subsets(self, classes: Sequence[str], seed: int) -> np.ndarray:
        """Return its subsets of examples of these classes, bool [S, N].

        Raises:
            ConfigError: They would keep or remove nothing.
        """
        return subsets(classes, self.fraction, self.count, seed, self.name)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of its models, subset by subset and seed by seed.

        Example:
            >>> PoolRequest("test", 2, seeds=2).runs
            ('000-0', '000-1', '001-0', '001-1')
        """
        return tuple(f"{s:03d}-{k}" for s in range(self.count) for k in range(self.seeds))

    def missing(self, bank: Path, shard: tuple[int, int] = (1, 1)) -> tuple[str, ...]:
        """Return the models of a part that the bank in a directory lacks: trained here, or brought here."""
        if (bank / "pools" / self.name / artefacts.MANIFEST).exists():
            return ()
        folder = bank / "runs" / self.name
        return tuple(name for name in part(self.runs, shard) if not (folder / name / artefacts.MANIFEST).exists())


def usual_pools(
    subsets: int = 64, *, fraction: float = 0.5, seeds: int = 3, development: int = 32, deterministic: int = 0
) -> tuple[PoolRequest, ...]:
    """Return the pools of an evaluation.

    Args:
        subsets: Subsets of ``test``, on which figures are reported.
        fraction: Share of the examples that a subset of ``test`` and ``development`` keeps.
        seeds: Training seeds of ``test``.
        development: Subsets of ``development``, on which knobs are chosen; one training seed.
        deterministic: Subsets of each of ``deterministic-1%``, ``-10%`` and ``-50%``, which repeat the first reference
            model's run with weight 0 for as many examples.

    Returns:
        Those of them that have subsets.

    Example:
        >>> [(pool.name, pool.fraction, len(pool.runs)) for pool in usual_pools(deterministic=24)[1:3]]
        [('development', 0.5, 32), ('deterministic-1%', 0.99, 24)]
    """
    wanted: list[tuple[str, int, float, int, bool]] = [
        ("test", subsets, fraction, seeds, False),
        ("development", development, fraction, 1, False),
        *((f"deterministic-{name}", deterministic, kept, 1, True) for name, kept in REMOVED.items()),
    ]
    return tuple(PoolRequest(*one) for one in wanted if one[1])


def build_pool(
    bank: Bank,
    request: PoolRequest,
    *,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> Pool | None:
    """Retrain models on random subsets and measure them; killed, it continues.

    Args:
        bank: The bank.
        request: The pool.
        shard: (i, n): train only the i-th of n parts, counted from 1, and leave the pool unfinished. The call without
            it, when the measurements of all parts are in ``runs``, makes the pool.
        keep_models: Keep the weights of the models that are trained, as ``runs/POOL/RUN.model``.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).

    Returns:
        The pool; None for a part of several.

    Raises:
        ConfigError: The fraction, shard or number of subsets is impossible.
        MismatchError: There is a pool of that name that was made otherwise.
    """
    made = {name: value for name, value in asdict(request).items() if name != "name"}
    place, folder = bank.path / "pools" / request.name, bank.path / "runs" / request.name
    inputs: dict[str, Any] = {"bank": bank.manifest.fingerprint}
    if artefacts.existing(place, KIND, inputs=inputs, made=made) is not None:
        return Pool.read(place)
    wanted, kept, seeds = pool_plan(bank, **asdict(request))
    found = retrain(bank, folder, part(wanted, shard), keep_models=keep_models, workers=workers, report=report)
    if shard[1] > 1:
        return None
    shape = (len(kept), len(seeds))
    losses, pictures = np.stack([one.losses for one in found]), np.stack([one.pictures for one in found])
    weights = np.array([one.weights for one in found]).reshape(shape).tolist()
    pool = Pool(
        request.name,
        kept,
        seeds,
        losses.reshape(*shape, -1),
        pictures.reshape(*shape, *pictures.shape[1:]),
        tuple(map(tuple, weights)),
    )
    pool.write(place, inputs, made)
    if not keep_models:
        shutil.rmtree(folder, ignore_errors=True)
    return pool


def part(wanted: Sequence[Any], shard: tuple[int, int]) -> Sequence[Any]:
    """Return the i-th of n parts, every n-th entry.

    Raises:
        ConfigError: There is no such part.

    Example:
        >>> part("abcde", (2, 2))
        'bd'
    """
    index, shards = shard
    if not 1 <= index <= shards:
        raise ConfigError(f"A shard is I/N with I from 1 to N; given {index}/{shards}.")
    return wanted[index - 1 :: shards]


def pool_plan(
    bank: Bank, name: str, count: int, fraction: float, seeds: int, deterministic: bool
) -> tuple[list[Retraining], np.ndarray, tuple[int, ...]]:
    """Return what a pool trains, subset by subset and seed by seed, its subsets bool [S, N], and the training seeds.

    See `PoolRequest` for the arguments.

    Raises:
        ConfigError: The fraction or number of subsets is impossible, or a run is to be repeated with several seeds.
    """
    request, seed = PoolRequest(name, count, fraction, seeds, deterministic), bank.manifest.made["seed"]
    kept = request.subsets(bank.classes, seed)
    training_seeds = tuple(derived_seed(seed, f"retraining {k}") for k in range(seeds))
    if deterministic:
        training_seeds = (reference_seed(seed, 0),)
    rows = [tuple(np.flatnonzero(own).tolist()) for own in kept]
    pairs = [(own, training_seed) for own in rows for training_seed in training_seeds]
    wanted = [
        Retraining(run, own, training_seed, deterministic)
        for run, (own, training_seed) in zip(request.runs, pairs, strict=True)
    ]
    return wanted, kept, training_seeds
