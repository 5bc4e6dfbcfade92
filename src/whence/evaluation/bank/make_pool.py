"""Filling a bank: pools of models that are retrained on random subsets, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.make_bank import reference_seed
from whence.evaluation.bank.pool import KIND, Pool
from whence.retraining.retrain import Retraining, retrain
from whence.retraining.subsets import subsets
from whence.seeds import derived_seed

#: Shares of the examples that deterministic pools remove.
REMOVED = {"1%": 0.99, "10%": 0.9, "50%": 0.5}


@dataclass(frozen=True)
class PoolRequest:
    """A pool to be made.

    Attributes:
        name: Name of the pool; its subsets depend on it.
        count: Subsets, S.
        fraction: Share of the examples that each subset keeps.
        seeds: Training seeds for each subset, the same for all subsets.
        deterministic: Repeat the run of the first reference model, with weight 0 for the other examples.
    """

    name: str
    count: int
    fraction: float = 0.5
    seeds: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Check that a model can be trained.

        Raises:
            ConfigError: There is no subset or no seed, or a run is to be repeated with several seeds.
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
        """Return the models of a part whose measurements are not in the directory of a bank."""
        if (bank / "pools" / self.name / artefacts.MANIFEST).exists():
            return ()
        folder = bank / "runs" / self.name
        return tuple(
            name for name in select_shard(self.runs, shard) if not (folder / name / artefacts.MANIFEST).exists()
        )


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
    rows: list[tuple[str, int, float, int, bool]] = [
        ("test", subsets, fraction, seeds, False),
        ("development", development, fraction, 1, False),
        *((f"deterministic-{name}", deterministic, kept, 1, True) for name, kept in REMOVED.items()),
    ]
    return tuple(PoolRequest(*row) for row in rows if row[1])


def build_pool(
    bank: Bank,
    request: PoolRequest,
    *,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    engine: Engine = DEFAULT,
) -> Pool | None:
    """Retrain models on random subsets and measure them; if it was interrupted, it continues.

    Args:
        bank: The bank.
        request: The pool.
        shard: (i, n): train only the i-th of n parts, counted from 1, and leave the pool unfinished. The call without
            it, when the measurements of all parts are in ``runs``, makes the pool.
        keep_models: Keep the weights of the models that are trained, as ``runs/POOL/RUN.model``.
        engine: Where work runs. Its report is called with (training steps done, steps in all).

    Returns:
        The pool; None for a part of several.

    Raises:
        ConfigError: The fraction, shard or number of subsets is impossible.
        MismatchError: There is a pool of that name that was made otherwise.
    """
    made = {name: value for name, value in asdict(request).items() if name != "name"}
    path, folder = bank.path / "pools" / request.name, bank.path / "runs" / request.name
    inputs: dict[str, Any] = {"bank": bank.manifest.fingerprint}
    if artefacts.existing(path, KIND, inputs=inputs, made=made) is not None:
        return Pool.read(path)
    retrainings, kept, seeds = plan_pool(bank, request)
    part = select_shard(retrainings, shard)
    measurements = retrain(bank, folder, part, keep_models=keep_models, engine=engine)
    if shard[1] > 1:
        return None
    pool = Pool.of(request.name, kept, seeds, measurements)
    pool.write(path, inputs, made)
    if not keep_models:
        artefacts.discard(folder)
    return pool


def select_shard(models: Sequence[Any], shard: tuple[int, int]) -> Sequence[Any]:
    """Return the i-th of n parts, every n-th entry.

    Raises:
        ConfigError: There is no such part.

    Example:
        >>> select_shard("abcde", (2, 2))
        'bd'
    """
    index, shards = shard
    if not 1 <= index <= shards:
        raise ConfigError(f"A shard is I/N with I from 1 to N; given {index}/{shards}.")
    return models[index - 1 :: shards]


def plan_pool(bank: Bank, request: PoolRequest) -> tuple[list[Retraining], np.ndarray, tuple[int, ...]]:
    """Return what a pool trains, subset by subset and seed by seed, its subsets bool [S, N], and the training seeds.

    Raises:
        ConfigError: The subsets would keep or remove nothing.
    """
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
