"""A folder with the shares of one or more estimators, and pictures beside them: what pages of credit are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from whence import artefacts, data
from whence.artefacts import Manifest
from whence.credit.credit import KIND, Credit, Explained
from whence.credit.estimators import ESTIMATORS
from whence.data import Dataset
from whence.errors import ArtefactError, MismatchError
from whence.report.picture import CRISP, SMALL, Picture, data_uri, quoted
from whence.report.template import fingerprints, flat_settings, versions


@dataclass(frozen=True, eq=False)
class CreditFolder:
    """Shares of the same contributors by several estimators."""

    path: Path  # the folder
    credits: Mapping[str, Credit]  # shares by name of the estimator; estimators whose shares add up come first
    manifests: Mapping[str, Manifest]  # their manifests, by the same names
    data: Dataset | None  # the training examples; None where they were not kept
    queries: Dataset | None  # the pictures whose shares were computed; None where there are none

    @property
    def any(self) -> Credit:
        """The shares of the first estimator, for what all estimators have in common."""
        return next(iter(self.credits.values()))

    @property
    def explained(self) -> list[Explained]:
        """The behaviours of all estimators, once for each name."""
        behaviours = [behaviour for credit in self.credits.values() for behaviour in credit.explained]
        return list({behaviour.name: behaviour for behaviour in behaviours}.values())

    @property
    def example_count(self) -> int:
        """How many training examples the contributors have together."""
        return len({example for examples in self.any.examples for example in examples})

    @property
    def crisp(self) -> bool:
        """Whether its pictures are enlarged with sharp pixels."""
        pictures = self.queries if self.data is None else self.data
        return pictures is not None and max(max(size[1:]) for size in pictures.sizes) <= CRISP

    def estimator(self, name: str | None) -> str:
        """Return the name of an estimator, by default of the first one; ArtefactError if there are no shares by it."""
        if name is None:
            return next(iter(self.credits))
        if name not in self.credits:
            raise ArtefactError(f"{self.path} has no shares by {name!r}; there are {', '.join(self.credits)}.")
        return name

    def picture(self, query: str, below: str) -> Picture | None:
        """The picture of a query with what is written below it, and its prompt; None where it was not kept."""
        if self.queries is None or query not in self.queries.ids:
            return None
        place = self.queries.index_of(query)
        prompt = quoted(self.queries.captions[place] or "")
        return Picture(data_uri(self.queries.pixels[place], SMALL), f"Picture {query}", below, prompt)

    def provenance(self, *estimators: str) -> Iterator[tuple[str, dict[str, str]]]:
        """How the shares of some estimators were made: tables of names and values, by title."""
        for name in estimators:
            manifest = self.manifests[name]
            yield name, {**self.credits[name].how, **flat_settings(manifest.made), **fingerprints(manifest)}
        yield "Versions", versions(self.manifests[estimators[0]])

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> CreditFolder:
        """Return what is in a folder, checking shares by hash; errors as in `write_credit_report`."""
        folders = artefacts.of_kind(path, KIND)
        if not folders:
            raise ArtefactError(f"{path} holds no shares. First: whence credit compute ... --out {path}")
        credits = {place: Credit.read(place) for place in folders}
        ranks = {name: k for k, name in enumerate(ESTIMATORS)}
        folders.sort(key=lambda at: (not credits[at].efficient, ranks.get(at.name, len(ranks)), at.name))
        folder = cls(
            path,
            {place.name: credits[place] for place in folders},
            {place.name: artefacts.read_manifest(place, KIND) for place in folders},
            data.read(path / "data") if (path / "data").exists() else None,
            data.read(path / "queries") if (path / "queries").exists() else None,
        )
        _require_common(folder)
        return folder


def by_picture(behaviours: Iterable[Explained]) -> dict[str, list[Explained]]:
    """Return the behaviours that are about a picture, by the picture; those of the model are left out."""
    groups: dict[str, list[Explained]] = {}
    for behaviour in behaviours:
        if behaviour.picture is not None:
            groups.setdefault(behaviour.picture, []).append(behaviour)
    return groups


def how_made(credit: Credit) -> dict[str, str]:
    """How shares were made, in words; empty where that was not recorded."""
    return dict.fromkeys(("values", "interval", "null"), "") | credit.how


def _require_common(folder: CreditFolder) -> None:
    first, credit = next(iter(folder.credits.items()))
    for name, other in folder.credits.items():
        if (other.units, other.examples) != (credit.units, credit.examples):
            raise MismatchError(
                f"{folder.path} holds shares of different contributors: those of {name} are not those of {first}. "
                "Compute them into folders of their own."
            )
    if folder.data is not None:
        known = set(folder.data.ids)
        unknown = [example for examples in credit.examples for example in examples if example not in known]
        if unknown:
            raise MismatchError(
                f"{folder.path / 'data'} is not the data that the shares are of: {unknown[0]!r} is not in it."
            )
