"""A pool: models that were retrained on recorded subsets of one kind, measured on all queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.errors import WhenceError
from whence.retraining.measurement import Measurement

KIND = "pool"


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

    Example:
        >>> kept = np.array([[True, False], [False, True]])
        >>> pool = Pool("test", kept, (0,), np.ones((2, 1, 3)), np.zeros((2, 1, 0, 1, 8, 8)), (("a",), ("b",)))
        >>> pool.mean.shape
        (2, 3)
    """

    name: str
    kept: np.ndarray
    seeds: tuple[int, ...]
    losses: np.ndarray
    pictures: np.ndarray
    weights: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Check that everything fits.

        Raises:
            WhenceError: A shape doesn't fit, or a loss is not finite.
        """
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
    def read(cls, path: Path) -> Pool:
        """Return a pool, checked by hash.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        artefacts.read_verified(path, KIND)
        tensors = artefacts.read_tensors(path / "measured.safetensors")
        models = artefacts.read_json(path / "models.json")
        return cls(
            path.name,
            tensors["kept"].numpy(),
            tuple(models["seeds"]),
            tensors["losses"].numpy(),
            tensors["pictures"].numpy(),
            tuple(map(tuple, models["weights"])),
        )
