"""What is measured of a model, on noise and pictures that all models share, and how it is kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whence import artefacts
from whence.config import SamplerConfig
from whence.data import Dataset
from whence.errors import ArtefactError, DataError

#: A part of a measurement.
Part = Literal["pictures", "held_out", "losses", "redrawn"]
PARTS: tuple[Part, ...] = ("pictures", "held_out", "losses", "redrawn")


@dataclass(frozen=True)
class MeasurementFormat:
    """How measurements are kept on disk.

    Attributes:
        kind: Kind of the artefact.
        file: Name of its file of tensors.
        tensors: Name of the tensor of each part that is kept.
        weights: Whether the fingerprint of the model's weights is kept.
    """

    kind: str
    file: str
    tensors: Mapping[Part, str]
    weights: bool


#: Measurements of the models of a bank.
RETRAINED = MeasurementFormat("retrained", "measured.safetensors", {"losses": "losses", "redrawn": "pictures"}, True)
#: Measurements of the models of a credit study.
LOOK = MeasurementFormat(
    "look",
    "look.safetensors",
    {"pictures": "pictures", "held_out": "held_out", "losses": "losses", "redrawn": "again"},
    False,
)


@dataclass(frozen=True, eq=False)
class MeasurementPlan:
    """What is measured of every model.

    Attributes:
        names: SEED/INDEX of the K pictures that every model draws.
        held_out: H pictures that training never saw; None for none.
        queries: Q pictures that are explained; None for none.
        drawn: Which queries the full model drew, so that every model can draw them again from the noise of their id,
            bool [Q].
        sampler: How pictures are drawn.
        draws: Draws at which the loss of a picture is measured.
        seed: Seed of these draws.
    """

    names: tuple[str, ...]
    held_out: Dataset | None
    queries: Dataset | None
    drawn: np.ndarray
    sampler: SamplerConfig
    draws: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that the queries fit.

        Raises:
            DataError: `drawn` is not one bool for each query.
        """
        count = len(self.queries) if self.queries is not None else 0
        if self.drawn.dtype != bool or self.drawn.shape != (count,):
            raise DataError(f"Which of {count} queries were drawn is {self.drawn.dtype} {self.drawn.shape}.")

    @property
    def redrawn(self) -> tuple[str, ...]:
        """Ids of the G queries that every model draws again."""
        if self.queries is None:
            return ()
        return tuple(name for name, drawn in zip(self.queries.ids, self.drawn, strict=True) if drawn)

    @property
    def sizes(self) -> dict[Part, int]:
        """Rows of each part of a whole measurement."""
        return {
            "pictures": len(self.names),
            "held_out": len(self.held_out) if self.held_out is not None else 0,
            "losses": len(self.drawn),
            "redrawn": len(self.redrawn),
        }


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of a model; a part that was not measured has no rows.

    Attributes:
        pictures: The K pictures that every model draws, uint8 [K, C, H, W].
        held_out: Mean loss of every held-out picture, float64 [H].
        losses: Mean loss of every query, float64 [Q].
        redrawn: The G drawn queries, drawn again from the same noise, uint8 [G, C, H, W].
        weights: Fingerprint of the model's weights; None where it is not known.

    Example:
        >>> none = np.zeros((0, 1, 8, 8), np.uint8)
        >>> Measurement(none, np.zeros(0), np.ones(3), none).losses.tolist()
        [1.0, 1.0, 1.0]
    """

    pictures: np.ndarray
    held_out: np.ndarray
    losses: np.ndarray
    redrawn: np.ndarray
    weights: str | None = None

    def write(
        self,
        path: Path,
        layout: MeasurementFormat,
        inputs: Mapping[str, Any],
        made: Mapping[str, Any],
        patience: float = 0.0,
    ) -> None:
        """Write the measurement as an artefact, see `artefacts.ensure`; one that is there is left as it is."""

        def build(part: Path) -> dict[str, Any]:
            tensors = {name: artefacts.to_tensor(getattr(self, own)) for own, name in layout.tensors.items()}
            artefacts.write_tensors(part / layout.file, tensors)
            return {"weights": self.weights} if layout.weights else {}

        artefacts.ensure(path, layout.kind, inputs=inputs, made=made, build=build, patience=patience)

    @classmethod
    def read(cls, path: Path, layout: MeasurementFormat) -> Measurement:
        """Return what `write` wrote, checked by hash.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        manifest = artefacts.read_verified(path, layout.kind)
        tensors = artefacts.read_tensors(path / layout.file)
        if set(tensors) != set(layout.tensors.values()):
            raise ArtefactError(
                f"{path} is not a whole {layout.kind}: it has {sorted(tensors)}, expected "
                f"{sorted(layout.tensors.values())}."
            )
        kept = {part: tensors[name].numpy() for part, name in layout.tensors.items()}
        empty: dict[Part, np.ndarray] = {"pictures": kept["redrawn"][:0], "held_out": np.zeros(0)}
        return cls(**(empty | kept), weights=manifest.facts.get("weights"))
