"""Measured removals: the losses and pictures of the bank's queries under models trained without some examples.

BANK/removals/METHOD-COUNT-KEY/    KEY stands for the removed examples and the training seeds
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.errors import ArtefactError, WhenceError
from whence.evaluation.bank import Bank
from whence.evaluation.deletion.removal import Removal, removed_rows
from whence.images import distance, from_pixels
from whence.retraining.measurement import Measurement
from whence.scores.scores import Scores

#: Kind of the artefact.
KIND = "deletion"


@dataclass(frozen=True, eq=False)
class Deletion:
    """What happened when the examples that a method names were removed, and when random ones were.

    Axis 0 of the measurements says which: 0 without those that the method names, 1 without the random ones.

    Attributes:
        removal: The examples that were removed.
        losses: Mean loss of all queries of the bank, over draws that all models share, float64 [2, Q', K, Q].
        pictures: The D drawn ones of the Q' queries, drawn again from the same noise, uint8 [2, D, K, C, H, W].
    """

    removal: Removal
    losses: np.ndarray
    pictures: np.ndarray

    def __post_init__(self) -> None:
        """Raise WhenceError if a shape doesn't fit, or a loss is not finite."""
        queries, seeds = len(self.removal.queries), len(self.removal.seeds)
        fits = self.losses.shape[:3] == (2, queries, seeds) and self.losses.ndim == 4
        if not fits or self.pictures.shape[0] != 2 or self.pictures.shape[2] != seeds:
            raise WhenceError(
                f"Removals for {queries} queries with {seeds} seeds have losses {self.losses.shape} and pictures "
                f"{self.pictures.shape}."
            )
        if not np.isfinite(self.losses).all():
            raise WhenceError(f"A loss without the examples named by {self.removal.method} is not finite.")

    @classmethod
    def of(cls, bank: Bank, removal: Removal, measurements: Sequence[Measurement]) -> Deletion:
        """Return the measurements of `removal.retrainings`, in their order, as arrays."""
        shape = (len(removal.queries), 2, len(removal.seeds))
        losses = np.stack([one.losses for one in measurements]).reshape(*shape, -1).swapaxes(0, 1)
        pictures = np.stack([one.redrawn for one in measurements])
        pictures = pictures.reshape(*shape, *pictures.shape[1:]).swapaxes(0, 1)
        rows = [row for row, q in enumerate(removal.queries) if bank.drawn[q]]
        columns = np.cumsum(bank.drawn)[[removal.queries[row] for row in rows]] - 1  # among the drawn queries
        drawn = [pictures[:, row, :, column] for row, column in zip(rows, columns, strict=True)]
        empty = np.zeros((2, 0, len(removal.seeds), *pictures.shape[4:]), np.uint8)
        return cls(removal, losses, np.stack(drawn, axis=1) if drawn else empty)

    @property
    def query_losses(self) -> np.ndarray:
        """Losses of the query for which the examples were removed, float64 [2, Q', K]."""
        rows = np.array(self.removal.queries)[None, :, None, None]
        return np.take_along_axis(self.losses, rows, axis=3)[..., 0]

    def other_losses(self, bank: Bank) -> np.ndarray:
        """Mean losses of all other queries that are not for development, float64 [2, Q', K]."""
        others = np.broadcast_to(~bank.development, (len(self.removal.queries), len(bank.queries))).copy()
        others[np.arange(len(others)), list(self.removal.queries)] = False
        means: np.ndarray = np.einsum("rqko,qo->rqk", self.losses, others / others.sum(1, keepdims=True))
        return means

    def drawn_queries(self, bank: Bank) -> tuple[int, ...]:
        """Rows of the drawn ones of its queries among those of the bank, D."""
        return tuple(q for q in self.removal.queries if bank.drawn[q])

    def distances(self, bank: Bank) -> np.ndarray:
        """Euclidean distances over pixels in [0, 1] of the pictures drawn again from the query, float64 [2, D, K]."""
        pictures = from_pixels(artefacts.to_tensor(self.pictures))
        queries = bank.queries_data.images(self.drawn_queries(bank))[None, :, None]
        distances: np.ndarray = distance(pictures, queries.expand_as(pictures)).numpy()
        return distances

    def overlap(self, bank: Bank, scores: Scores) -> np.ndarray:
        """Return which share of the removed examples is among the top of scores, as many as were removed, [Q'].

        Scores that were computed on another machine may differ in their last bits, and so name another example or two.
        """
        top = removed_rows(bank, scores, self.removal.queries, self.removal.removed.shape[1])
        common = [np.intersect1d(a, b).size for a, b in zip(top, self.removal.removed, strict=True)]
        shares: np.ndarray = np.array(common) / self.removal.removed.shape[1]
        return shares

    def write(self, bank: Bank, root: Path) -> None:
        """Write it as an artefact below `root`."""

        def build(part: Path) -> dict[str, Any]:
            arrays = {"removed": self.removal.removed, "random": self.removal.random}
            arrays |= {"losses": self.losses, "pictures": self.pictures}
            tensors = {name: artefacts.to_tensor(array) for name, array in arrays.items()}
            artefacts.write_tensors(part / "measured.safetensors", tensors)
            return {"scores": self.removal.scores}

        inputs, made = _provenance(bank, self.removal)
        artefacts.ensure(deletion_path(bank, root, self.removal), KIND, inputs=inputs, made=made, build=build)

    @classmethod
    @artefacts.reader
    def read(cls, bank: Bank, path: Path) -> Deletion:
        """Return measured removals, checked by hash; raise ArtefactError if they are of another bank."""
        manifest = artefacts.read_verified(path, KIND)
        if manifest.inputs["bank"] != bank.manifest.fingerprint:
            raise ArtefactError(
                f"{path} was measured on another bank: fingerprint {manifest.inputs['bank'][:12]}, {bank.path} is "
                f"{bank.manifest.fingerprint[:12]}."
            )
        tensors = {name: t.numpy() for name, t in artefacts.read_tensors(path / "measured.safetensors").items()}
        made, rows = manifest.made, {name: q for q, name in enumerate(bank.queries)}
        removal = Removal(
            made["method"],
            tuple(rows[name] for name in made["queries"]),
            tensors["removed"],
            tensors["random"],
            tuple(made["seeds"]),
            manifest.facts["scores"],
        )
        return cls(removal, tensors["losses"], tensors["pictures"])


def deletion_path(bank: Bank, root: Path, removal: Removal) -> Path:
    """Return the directory of measured removals below `root`; other removals have other ones."""
    method = removal.method.replace(":", "-").replace("/", "-")
    return root / f"{method}-{removal.removed.shape[1]}-{artefacts.digest(_provenance(bank, removal))[:8]}"


def find_deletion(bank: Bank, roots: Iterable[Path], removal: Removal) -> Path | None:
    """Return the first directory below the roots with measurements of a removal; None where there is none."""
    inputs, made = _provenance(bank, removal)
    paths = (deletion_path(bank, root, removal) for root in roots)
    return next((path for path in paths if artefacts.existing(path, KIND, inputs=inputs, made=made)), None)


def _provenance(bank: Bank, removal: Removal) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the artefact is made from, and how."""
    rows = {name: artefacts.digest(getattr(removal, name).astype("<i8").tobytes()) for name in ("removed", "random")}
    queries, size = [bank.queries[q] for q in removal.queries], removal.removed.shape[1]
    made = {"method": removal.method, "top": size, "queries": queries, "seeds": list(removal.seeds), **rows}
    return {"bank": bank.manifest.fingerprint}, made
