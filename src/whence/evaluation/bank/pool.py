"""Pools: models that are retrained on recorded subsets of one kind and measured, and requests for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whence import artefacts
from whence.errors import ConfigError, WhenceError
from whence.retraining.subsets import subsets

if TYPE_CHECKING:
    from whence.retraining.measurement import Measurement

KIND = "pool"
#: Shares of the examples that deterministic pools remove.
REMOVED = {"1%": 0.99, "10%": 0.9, "50%": 0.5}


@dataclass(frozen=True, eq=False)
class Pool:
    """Models retrained on S subsets with K training seeds each.

    Attributes:
        name: Name of the pool: ``test``, ``development``, ``deterministic-10%``.
        kept: The training examples that each subset keeps, bool [S, N].
        seeds: The K training seeds.
        losses: Mean loss of every query, over draws that all models share, float64 [S, K, Q].
        pictures: The G drawn queries, drawn again from the same noise, uint8 [S, K, G, C, H, W].
        weights: Fingerprints of the models' weights, S times K.
    """

    name: str
    kept: np.ndarray
    seeds: tuple[int, ...]
    losses: np.ndarray
    pictures: np.ndarray
    weights: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Raise WhenceError if a shape doesn't fit, or a loss is not finite."""
        shape = (len(self.kept), len(self.seeds))
        if self.losses.shape[:2] != shape or self.pictures.shape[:2] != shape or len(self.weights) != shape[0]:
            raise WhenceError(f"A pool of {shape[0]} subsets and {shape[1]} seeds has losses {self.losses.shape}.")
        if not np.isfinite(self.losses).all():
            raise WhenceError(f"A loss in the pool {self.name!r} is not finite.")

    @property
    def mean(self) -> np.ndarray:
        """Losses, mean over the training seeds, float64 [S, Q]."""
        mean: np.ndarray = self.losses.mean(1)
        return mean

    @classmethod
    def of(cls, name: str, kept: np.ndarray, seeds: tuple[int, ...], measurements: Sequence[Measurement]) -> Pool:
        """Return the pool of S x K measurements, subset by subset and seed by seed."""
        shape = (len(kept), len(seeds))
        losses, pictures = (np.stack([getattr(one, part) for one in measurements]) for part in ("losses", "redrawn"))
        weights = np.array([one.weights for one in measurements]).reshape(shape).tolist()
        return cls(
            name,
            kept,
            seeds,
            losses.reshape(*shape, -1),
            pictures.reshape(*shape, *pictures.shape[1:]),
            tuple(map(tuple, weights)),
        )

    def write(self, path: Path, inputs: dict[str, Any], made: dict[str, Any]) -> None:
        """Write the pool as an artefact."""
        with artefacts.create(path, KIND, inputs=inputs, made=made) as part:
            tensors = {name: artefacts.to_tensor(getattr(self, name)) for name in ("kept", "losses", "pictures")}
            artefacts.write_tensors(part / "measured.safetensors", tensors)
            artefacts.write_json(part / "models.json", {"seeds": self.seeds, "weights": self.weights})

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Pool:
        """Return a pool, checked by hash."""
        artefacts.read_verified(path, KIND)
        arrays = artefacts.read_arrays(path / "measured.safetensors")
        models = artefacts.read_json(path / "models.json")
        return cls(
            path.name,
            arrays["kept"],
            tuple(models["seeds"]),
            arrays["losses"],
            arrays["pictures"],
            tuple(map(tuple, models["weights"])),
        )


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
        """Raise ConfigError if there is no subset or no seed, or a run is to be repeated with several seeds."""
        if self.count < 1 or self.seeds < 1 or (self.deterministic and self.seeds > 1):
            raise ConfigError(
                f"The pool {self.name!r} of {self.count} subsets and {self.seeds} training seeds can't be made: one of "
                "both is the least, and a run is repeated with its own seed alone."
            )

    def subsets(self, classes: Sequence[str], seed: int) -> np.ndarray:
        """Return its subsets of examples of these classes, bool [S, N]."""
        return subsets(classes, self.fraction, self.count, seed, self.name)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of its models, subset by subset and seed by seed: ``000-0``, ``000-1``, ``001-0``."""
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
    """Return the pools of an evaluation, those of them that have subsets.

    Figures are reported on `subsets` of ``test``, each with some training seeds; knobs are chosen on those of
    ``development``, with one seed. Both keep a fraction of the examples. ``deterministic-1%``, ``-10%`` and ``-50%``
    repeat the first reference model's run with weight 0 for as many examples, `deterministic` subsets each.

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


def select_shard(models: Sequence[Any], shard: tuple[int, int]) -> Sequence[Any]:
    """Return every n-th entry from the i-th on, counted from 1; raise ConfigError if there is no such part."""
    index, shards = shard
    if not 1 <= index <= shards:
        raise ConfigError(f"A shard is I/N with I from 1 to N; given {index}/{shards}.")
    return models[index - 1 :: shards]
