"""What pages about credit are made from: a folder with the shares of one or more estimators, and pictures beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whence import artefacts, data
from whence.artefacts import Manifest
from whence.credit.credit import KIND, Credit, Explained
from whence.data import Dataset
from whence.errors import ArtefactError, MismatchError
from whence.report.credit.words import ESTIMATORS
from whence.report.pictures import CRISP


@dataclass(frozen=True, eq=False)
class Credits:
    """Shares of the same contributors by several estimators.

    Attributes:
        path: The folder.
        credits: Shares by name of the estimator; those that add up first.
        manifests: Their manifests, by the same names.
        data: The training examples; None where they were not kept.
        queries: The pictures that were asked about; None where there are none.
    """

    path: Path
    credits: Mapping[str, Credit]
    manifests: Mapping[str, Manifest]
    data: Dataset | None
    queries: Dataset | None

    @property
    def any(self) -> Credit:
        """The shares of the first estimator, for what all have in common."""
        return next(iter(self.credits.values()))

    @property
    def explained(self) -> list[Explained]:
        """What any estimator shared out, once for each name."""
        return list({one.name: one for credit in self.credits.values() for one in credit.explained}.values())

    @property
    def together(self) -> int:
        """How many training examples the contributors have together."""
        return len({example for own in self.any.examples for example in own})

    @property
    def small(self) -> bool:
        """Whether its pictures are enlarged with sharp pixels."""
        kept = self.queries if self.data is None else self.data
        return kept is not None and max(kept.size[1:]) <= CRISP

    def chosen(self, estimator: str | None) -> str:
        """Return the name of an estimator; None stands for the first one.

        Raises:
            ArtefactError: There are no shares by it.
        """
        if estimator is None:
            return next(iter(self.credits))
        if estimator not in self.credits:
            raise ArtefactError(f"{self.path} has no shares by {estimator!r}; there are {', '.join(self.credits)}.")
        return estimator

    def query(self, name: str) -> np.ndarray | None:
        """Return a picture that was asked about, uint8 [C, H, W]; None where it was not kept."""
        if self.queries is None or name not in self.queries.ids:
            return None
        found: np.ndarray = self.queries.pixels[self.queries.index_of(name)]
        return found

    @classmethod
    def read(cls, path: Path) -> Credits:
        """Return what is in a folder, checking shares by hash.

        Raises:
            ArtefactError: There are no shares, or something is missing or damaged.
            MismatchError: Shares are of different contributors, or the training examples are not theirs.
        """
        folders = artefacts.of_kind(path, KIND)
        if not folders:
            raise ArtefactError(f"{path} holds no shares. First: whence credit compute ... --out {path}")
        read = {one: Credit.read(one) for one in folders}
        folders.sort(key=lambda one: (not read[one].efficient, _place(one.name), one.name))
        found = cls(
            path,
            {one.name: read[one] for one in folders},
            {one.name: artefacts.read_manifest(one, KIND) for one in folders},
            data.read(path / "data") if (path / "data").exists() else None,
            data.read(path / "queries") if (path / "queries").exists() else None,
        )
        _require_common(found)
        return found


def by_picture(explained: Iterable[Explained]) -> dict[str, list[Explained]]:
    """Return what is about a picture, by the picture; what is about the model is left out."""
    found: dict[str, list[Explained]] = {}
    for one in explained:
        if one.picture is not None:
            found.setdefault(one.picture, []).append(one)
    return found


def _place(name: str) -> int:
    return list(ESTIMATORS).index(name) if name in ESTIMATORS else len(ESTIMATORS)


def _require_common(found: Credits) -> None:
    first, wanted = next(iter(found.credits.items()))
    for name, credit in found.credits.items():
        if (credit.units, credit.examples) != (wanted.units, wanted.examples):
            raise MismatchError(
                f"{found.path} holds shares of different contributors: those of {name} are not those of {first}. "
                "Compute them into folders of their own."
            )
    if found.data is not None:
        known = set(found.data.ids)
        unknown = [example for own in wanted.examples for example in own if example not in known]
        if unknown:
            raise MismatchError(
                f"{found.path / 'data'} is not the data that the shares are of: {unknown[0]!r} is not in it."
            )
