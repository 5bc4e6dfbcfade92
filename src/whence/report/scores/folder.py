"""What a report of scores is made from: a folder with the scores of several methods, and pictures beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.attribution.pictures import Pictures
from whence.errors import ArtefactError, MismatchError
from whence.scores.scores import Scores

#: Queries on the page.
QUERIES = 50
#: Inputs that scores of one folder have in common where they state them.
COMMON = ("data", "queries")


@dataclass(frozen=True, eq=False)
class Attributions:
    """Scores of the same queries and examples by several methods.

    Attributes:
        path: The folder.
        scores: Scores by name of their directory, of the first QUERIES queries; methods with errors first.
        manifests: Their manifests, by the same names.
        steps: Directories with scores of every step on the way to the queries, which are not read.
        asked: Number of queries of the whole.
        pictures: Pictures of the queries, and of the examples at the ends of their scores.
        told: What the pictures' manifest says beside them, such as ``model`` and ``data``.
        norms: Timesteps and gradient norms, both [n], by readout.
    """

    path: Path
    scores: Mapping[str, Scores]
    manifests: Mapping[str, Manifest]
    steps: tuple[str, ...]
    asked: int
    pictures: Pictures
    told: Mapping[str, str]
    norms: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def any(self) -> Scores:
        """The scores of some method, for what all have in common."""
        return next(iter(self.scores.values()))

    @property
    def untested(self) -> bool:
        """Whether there are units of which some method can't tell if they rise above Monte Carlo noise."""
        with_errors = [one for one in self.scores.values() if one.standard_error is not None]
        return self.grouped and not all(map(units_tested, with_errors))

    @property
    def grouped(self) -> bool:
        """Whether some unit is several examples, or some example in several units."""
        units = [unit for own in self.any.units for unit in own]
        return len(set(units)) < len(units) or any(len(own) > 1 for own in self.any.units)

    @classmethod
    def read(cls, path: Path) -> Attributions:
        """Return what is in a folder, checking every file by hash.

        Raises:
            ArtefactError: There are no scores, or something is missing or damaged.
            MismatchError: The scores, or the pictures, are of different queries or examples.
        """
        found = artefacts.of_kind(path, "scores")
        if not found:
            raise ArtefactError(
                f"{path} holds no scores. First: whence attribute MODEL DATA --queries ... --out {path}"
            )
        manifests = {one.name: artefacts.read_manifest(one, "scores") for one in found}
        _require_common(path, manifests)
        pictures = Pictures.read(path / "pictures")
        steps = [one.name for one in found if _are_steps(one, pictures)]
        whole = {one.name: Scores.read(one) for one in found if one.name not in steps}
        _require_alike(path, whole, pictures)
        names = sorted(whole, key=lambda name: (whole[name].standard_error is None, name))
        facts = artefacts.read_manifest(path / "pictures", "pictures").facts
        return cls(
            path=path,
            scores={name: _first(whole[name]) for name in names},
            manifests={name: manifests[name] for name in names},
            steps=tuple(steps),
            asked=len(whole[names[0]].queries),
            pictures=pictures,
            told={str(name): str(value) for name, value in facts.items()},
            norms=_norms(path / "norms.parquet"),
        )


def units_tested(scores: Scores) -> bool:
    """Whether the errors of units are known well enough to ask if these rise above noise: not as if independent."""
    return scores.combine == "sum" and scores.deviations is not None


def _are_steps(path: Path, pictures: Pictures) -> bool:
    """Whether the queries of scores are QUERY@TIMESTEP."""
    queries = artefacts.read_table(path / "queries.parquet")["id"]
    known = set(pictures.queries.ids)
    return bool(queries) and all(one not in known and one.rpartition("@")[0] in known for one in queries)


def _require_alike(path: Path, whole: Mapping[str, Scores], pictures: Pictures) -> None:
    """Check that all scores are of the same queries and examples, and that there are pictures of the queries."""
    if not whole:
        raise ArtefactError(f"{path} holds scores of steps only; a report needs scores of whole pictures beside them.")
    ids = {name: (scores.queries, scores.examples, scores.units) for name, scores in whole.items()}
    first = next(iter(ids))
    for name, own in ids.items():
        if own != ids[first]:
            raise MismatchError(
                f"{path / name} and {path / first} are of different queries or examples. Write them to different "
                "folders, or delete the one that is out of date."
            )
    missing = sorted(set(whole[first].queries[:QUERIES]) - set(pictures.queries.ids))
    if missing:
        raise MismatchError(
            f"{path / 'pictures'} has no picture of the query {missing[0]!r}: it was made for other queries. "
            "Delete it and run the command that made the scores again."
        )


def _first(scores: Scores) -> Scores:
    error, deviations = scores.standard_error, scores.deviations
    return replace(
        scores,
        scores=scores.scores[:QUERIES],
        queries=scores.queries[:QUERIES],
        standard_error=None if error is None else error[:QUERIES],
        deviations=None if deviations is None else deviations[:, :QUERIES],
    )


def _require_common(path: Path, manifests: Mapping[str, Manifest]) -> None:
    """Check that scores were made from the same thing as far as they say."""
    for role in COMMON:
        stated = {one.inputs[role]: name for name, one in manifests.items() if role in one.inputs}
        if len(stated) > 1:
            (a, first), (b, second) = list(stated.items())[:2]
            raise MismatchError(
                f"{path / first} and {path / second} were made from different {role}: fingerprints {str(a)[:12]} and "
                f"{str(b)[:12]}. Write them to different folders, or delete the one that is out of date."
            )


def _norms(file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Timesteps and norms by readout; empty where they were not kept."""
    if not file.exists():
        return {}
    table = artefacts.read_table(file)
    if not {"readout", "timestep", "norm"} <= set(table):
        raise ArtefactError(f"{file} has the columns {', '.join(table)}; expected readout, timestep and norm.")
    timesteps, norms = (torch.tensor(table[name], dtype=torch.float64) for name in ("timestep", "norm"))
    found = {}
    for readout in dict.fromkeys(table["readout"]):
        own = torch.tensor([one == readout for one in table["readout"]])
        found[str(readout)] = (timesteps[own], norms[own])
    return found
