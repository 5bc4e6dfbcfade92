"""Measured removals: what models retrained without some examples say of the bank's queries.

BANK/removals/METHOD-COUNT-KEY/    KEY stands for what was removed and with which seeds
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.artefacts import Manifest
from whence.errors import ArtefactError, WhenceError
from whence.evaluation.bank import Bank
from whence.evaluation.bank.retrain import Measurement
from whence.evaluation.deletion.wanted import Wanted, removed_rows
from whence.images import distance, from_pixels
from whence.scores.scores import Scores

#: Kind of the artefact.
KIND = "deletion"


@dataclass(frozen=True, eq=False)
class Deletion:
    """What happened when the examples that a method names were removed, and when random ones were.

    Axis 0 of the measurements says which: 0 without those that the method names, 1 without the random ones.

    Attributes:
        wanted: What was removed.
        losses: Mean loss of all queries of the bank, over draws that all models share, float64 [2, Q', K, Q].
        pictures: For the D drawn ones of the Q' queries: drawn again from the same noise, uint8 [2, D, K, C, H, W].
    """

    wanted: Wanted
    losses: np.ndarray
    pictures: np.ndarray

    def __post_init__(self) -> None:
        """Check that everything fits.

        Raises:
            WhenceError: A shape doesn't fit, or a loss is not finite.
        """
        queries, seeds = len(self.wanted.queries), len(self.wanted.seeds)
        fits = self.losses.shape[:3] == (2, queries, seeds) and self.losses.ndim == 4
        if not fits or self.pictures.shape[0] != 2 or self.pictures.shape[2] != seeds:
            raise WhenceError(
                f"Removals for {queries} queries with {seeds} seeds have losses {self.losses.shape} and pictures "
                f"{self.pictures.shape}."
            )
        if not np.isfinite(self.losses).all():
            raise WhenceError(f"A loss without the examples named by {self.wanted.method} is not finite.")

    @classmethod
    def gather(cls, bank: Bank, wanted: Wanted, measured: list[Measurement]) -> Deletion:
        """Return the measurements of `wanted.runs`, in their order, as arrays."""
        shape = (len(wanted.queries), 2, len(wanted.seeds))
        losses = np.stack([one.losses for one in measured]).reshape(*shape, -1).swapaxes(0, 1)
        pictures = np.stack([one.pictures for one in measured])
        pictures = pictures.reshape(*shape, *pictures.shape[1:]).swapaxes(0, 1)
        drawn = [row for row, q in enumerate(wanted.queries) if bank.drawn[q]]
        place = np.cumsum(bank.drawn)[[wanted.queries[row] for row in drawn]] - 1  # among the drawn queries
        chosen = [pictures[:, row, :, g] for row, g in zip(drawn, place, strict=True)]
        empty = np.zeros((2, 0, len(wanted.seeds), *pictures.shape[4:]), np.uint8)
        return cls(wanted, losses, np.stack(chosen, axis=1) if chosen else empty)

    @property
    def own(self) -> np.ndarray:
        """Losses of the query for which the examples were removed, float64 [2, Q', K]."""
        rows = np.array(self.wanted.queries)[None, :, None, None]
        return np.take_along_axis(self.losses, rows, axis=3)[..., 0]

    def drawn(self, bank: Bank) -> tuple[int, ...]:
        """Rows of the drawn ones of its queries among those of the bank, D."""
        return tuple(q for q in self.wanted.queries if bank.drawn[q])

    def others(self, bank: Bank) -> np.ndarray:
        """Mean losses of all other queries that are not for development, float64 [2, Q', K]."""
        other = np.broadcast_to(~bank.development, (len(self.wanted.queries), len(bank.queries))).copy()
        other[np.arange(len(other)), list(self.wanted.queries)] = False
        found: np.ndarray = np.einsum("rqko,qo->rqk", self.losses, other / other.sum(1, keepdims=True))
        return found

    def distances(self, bank: Bank) -> np.ndarray:
        """Euclidean distances over pixels in [0, 1] of the pictures drawn again from the query, float64 [2, D, K]."""
        again = from_pixels(artefacts.to_tensor(self.pictures))
        asked = bank.queries_data.images(self.drawn(bank))[None, :, None]
        found: np.ndarray = distance(again, asked.expand_as(again)).numpy()
        return found

    def is_of(self, bank: Bank, scores: Scores) -> bool:
        """Return whether scores are of all the queries."""
        return {bank.queries[q] for q in self.wanted.queries} <= set(scores.queries)

    def overlap(self, bank: Bank, scores: Scores) -> np.ndarray:
        """Return which share of the examples that were removed scores name now among as many at the top, [Q'].

        1: what was measured is what these scores name. Scores that were computed on another machine may differ in
        their last bits, and with them an example or two at the border.
        """
        now = removed_rows(bank, scores, self.wanted.queries, self.wanted.removed.shape[1])
        both = [np.intersect1d(a, b).size for a, b in zip(now, self.wanted.removed, strict=True)]
        found: np.ndarray = np.array(both) / self.wanted.removed.shape[1]
        return found

    def write(self, bank: Bank, root: Path) -> Path:
        """Return the path of the artefact below `root` as which it is written."""
        path, (inputs, made) = place(bank, root, self.wanted), _request(bank, self.wanted)
        facts = {"scores": self.wanted.scores}
        with artefacts.create(path, KIND, inputs=inputs, made=made, facts=facts) as part:
            tensors = {"removed": self.wanted.removed, "random": self.wanted.random}
            tensors |= {"losses": self.losses, "pictures": self.pictures}
            artefacts.write_tensors(
                part / "measured.safetensors", {name: artefacts.to_tensor(array) for name, array in tensors.items()}
            )
        return path

    @classmethod
    def read(cls, bank: Bank, path: Path) -> Deletion:
        """Return measured removals, checked by hash.

        Raises:
            ArtefactError: They are missing, damaged, or of another bank.
        """
        manifest = artefacts.read_verified(path, KIND)
        _require_bank(bank, path, manifest)
        tensors = {name: t.numpy() for name, t in artefacts.read_tensors(path / "measured.safetensors").items()}
        made, names = manifest.made, {name: q for q, name in enumerate(bank.queries)}
        queries = tuple(names[name] for name in made["queries"])
        wanted = Wanted(
            made["method"],
            queries,
            tensors["removed"],
            tensors["random"],
            tuple(made["seeds"]),
            manifest.facts["scores"],
        )
        return cls(wanted, tensors["losses"], tensors["pictures"])


def place(bank: Bank, root: Path, wanted: Wanted) -> Path:
    """Return where removals are kept below `root`; others never get in their way."""
    method = wanted.method.replace(":", "-").replace("/", "-")
    return root / f"{method}-{wanted.removed.shape[1]}-{artefacts.digest(_request(bank, wanted))[:8]}"


def kept_in(bank: Bank, roots: Iterable[Path], wanted: Wanted) -> Path | None:
    """Return the whole artefact of removals below the first of the roots that has it; None if they weren't measured."""
    inputs, made = _request(bank, wanted)
    paths = (place(bank, root, wanted) for root in roots)
    return next((path for path in paths if artefacts.existing(path, KIND, inputs=inputs, made=made)), None)


def _request(bank: Bank, wanted: Wanted) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the artefact is made from, and how."""
    rows = {name: artefacts.digest(getattr(wanted, name).astype("<i8").tobytes()) for name in ("removed", "random")}
    queries, size = [bank.queries[q] for q in wanted.queries], wanted.removed.shape[1]
    made = {"method": wanted.method, "top": size, "queries": queries, "seeds": list(wanted.seeds), **rows}
    return {"bank": bank.manifest.fingerprint}, made


def _require_bank(bank: Bank, path: Path, manifest: Manifest) -> None:
    if manifest.inputs["bank"] != bank.manifest.fingerprint:
        raise ArtefactError(
            f"{path} was measured on another bank: fingerprint {manifest.inputs['bank'][:12]}, {bank.path} is "
            f"{bank.manifest.fingerprint[:12]}."
        )
