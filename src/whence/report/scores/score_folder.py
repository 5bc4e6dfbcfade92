"""A folder with the scores of several methods, and the pictures beside them: what a report of scores is made from."""

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


@dataclass(frozen=True, eq=False)
class ScoreFolder:
    """Scores of the same queries and examples by several methods."""

    path: Path  # the folder
    # scores by name of their directory, of the first queries; methods with errors first
    scores: Mapping[str, Scores]
    manifests: Mapping[str, Manifest]  # their manifests, by the same names
    steps: tuple[str, ...]  # directories with scores of every step on the way to the queries, which are not read
    query_count: int  # number of all queries
    pictures: Pictures  # pictures of the queries, and of the examples at the ends of their scores
    facts: Mapping[str, str]  # what the pictures' manifest states, such as ``model`` and ``data``
    norms: Mapping[str, tuple[Tensor, Tensor]]  # timesteps and gradient norms, both [n], by readout

    @property
    def any(self) -> Scores:
        """The scores of some method, for what all methods have in common."""
        return next(iter(self.scores.values()))

    @property
    def errors(self) -> bool:
        """Whether some method has standard errors."""
        return any(scores.standard_error is not None for scores in self.scores.values())

    @property
    def untested(self) -> bool:
        """Whether some method can't test its units against Monte Carlo noise."""
        with_errors = [scores for scores in self.scores.values() if scores.standard_error is not None]
        return self.grouped and not all(map(units_tested, with_errors))

    @property
    def grouped(self) -> bool:
        """Whether some unit has several examples, or some example has several units."""
        names = [unit for units in self.any.units for unit in units]
        return len(set(names)) < len(names) or any(len(units) > 1 for units in self.any.units)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path, whole: bool = False) -> ScoreFolder:
        """Return what is in a folder, with scores of the first QUERIES queries or of the whole, after a check by hash.

        Raises:
            ArtefactError: There are no scores, or something is missing or damaged.
            MismatchError: Scores or pictures are of different queries, examples or data.
        """
        folders = artefacts.of_kind(path, "scores")
        if not folders:
            raise ArtefactError(
                f"{path} holds no scores. First: whence attribute MODEL DATA --queries ... --out {path}"
            )
        manifests = {folder.name: artefacts.read_manifest(folder, "scores") for folder in folders}
        require_common(path, manifests)
        pictures = Pictures.read(path / "pictures")
        steps = [folder.name for folder in folders if _are_steps(folder, pictures)]
        scores = {folder.name: Scores.read(folder) for folder in folders if folder.name not in steps}
        _require_alike(path, scores, pictures)
        names = sorted(scores, key=lambda name: (scores[name].standard_error is None, name))
        facts = artefacts.read_manifest(path / "pictures", "pictures").facts
        return cls(
            path=path,
            scores={name: scores[name] if whole else _first(scores[name]) for name in names},
            manifests={name: manifests[name] for name in names},
            steps=tuple(steps),
            query_count=len(scores[names[0]].queries),
            pictures=pictures,
            facts={str(name): str(value) for name, value in facts.items()},
            norms=read_norms(path / "norms.parquet"),
        )


def units_tested(scores: Scores) -> bool:
    """Whether units can be tested against noise: their errors are known, and not as if examples were independent."""
    return scores.combine == "sum" and scores.deviations is not None


def _are_steps(path: Path, pictures: Pictures) -> bool:
    """Whether the queries of scores are QUERY@TIMESTEP."""
    queries = artefacts.read_table(path / "queries.parquet")["id"]
    known = set(pictures.queries.ids)
    return bool(queries) and all(query not in known and query.rpartition("@")[0] in known for query in queries)


def require_equal(path: Path, known: Mapping[str, object], what: str) -> None:
    """Check that something is equal of all methods in a folder.

    Raises:
        MismatchError: It is not; the message says what differs.
    """
    first = next(iter(known))
    for name in known:
        if known[name] != known[first]:
            raise MismatchError(
                f"{path / name} and {path / first} are of different {what}. Write them to different folders, or delete "
                "the one that is out of date."
            )


def _require_alike(path: Path, methods: Mapping[str, Scores], pictures: Pictures) -> None:
    """Check that all scores are of the same queries and examples, and that there are pictures of the queries."""
    if not methods:
        raise ArtefactError(f"{path} holds scores of steps only; a report needs scores of whole pictures beside them.")
    ids = {name: (scores.queries, scores.examples, scores.units) for name, scores in methods.items()}
    require_equal(path, ids, "queries or examples")
    without = sorted(set(next(iter(methods.values())).queries[:QUERIES]) - set(pictures.queries.ids))
    if without:
        raise MismatchError(
            f"{path / 'pictures'} has no picture of the query {without[0]!r}: it was made for other queries. "
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


def require_common(path: Path, manifests: Mapping[str, Manifest]) -> None:
    """Check that scores were made from the same inputs, where they state them."""
    for role in ("data", "queries"):
        stated = {manifest.inputs[role]: name for name, manifest in manifests.items() if role in manifest.inputs}
        if len(stated) > 1:
            (a, first), (b, second) = list(stated.items())[:2]
            raise MismatchError(
                f"{path / first} and {path / second} were made from different {role}: fingerprints {str(a)[:12]} and "
                f"{str(b)[:12]}. Write them to different folders, or delete the one that is out of date."
            )


def read_norms(file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Timesteps and norms by readout; empty where they were not kept."""
    if not file.exists():
        return {}
    table = artefacts.read_table(file)
    if not {"readout", "timestep", "norm"} <= set(table):
        raise ArtefactError(f"{file} has the columns {', '.join(table)}; expected readout, timestep and norm.")
    timesteps, norms = (torch.tensor(table[name], dtype=torch.float64) for name in ("timestep", "norm"))
    readouts = dict.fromkeys(table["readout"])
    rows = {str(readout): torch.tensor([name == readout for name in table["readout"]]) for readout in readouts}
    return {readout: (timesteps[row], norms[row]) for readout, row in rows.items()}
