"""A folder with the ends of scores by several methods: what a report is made from where there are no whole scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.attribution.pictures import Pictures
from whence.errors import ArtefactError
from whence.report.picture import LARGE, Picture, data_uri
from whence.report.scores.query_card import MethodResult, QueryCard, Ranking, method_result, unit_entries
from whence.report.scores.score_folder import QUERIES, read_norms, require_common, require_equal
from whence.scores.ends import KIND, ScoreEnds
from whence.scores.scores import Scores


@dataclass(frozen=True, eq=False)
class EndsFolder:
    """Ends of scores of the same queries and examples by several methods; the attributes are those of `ScoreFolder`."""

    path: Path
    scores: Mapping[str, ScoreEnds]
    manifests: Mapping[str, Manifest]
    pictures: Pictures
    facts: Mapping[str, str]
    norms: Mapping[str, tuple[Tensor, Tensor]]
    steps: tuple[str, ...] = ()
    untested: bool = False

    @property
    def any(self) -> ScoreEnds:
        """The ends of some method, for what all methods have in common."""
        return next(iter(self.scores.values()))

    @property
    def examples(self) -> int:
        """The number of training examples."""
        return self.any.examples

    @property
    def count(self) -> int:
        """How many of each query all methods have kept."""
        return min(ends.count for ends in self.scores.values())

    @property
    def query_count(self) -> int:
        """The number of all queries."""
        return len(self.any.queries)

    @property
    def grouped(self) -> bool:
        """Whether there are units of several examples."""
        return self.any.units is not None

    @property
    def errors(self) -> bool:
        """Whether some method has standard errors."""
        return any(ends.draws is not None for ends in self.scores.values())

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> EndsFolder:
        """Return what is in a folder, after a check by hash.

        Raises:
            ArtefactError: There are no ends of scores, or something is missing or damaged.
            MismatchError: They are of different queries, examples, units or data.
        """
        folders = artefacts.of_kind(path, KIND)
        manifests = {folder.name: artefacts.read_manifest(folder, KIND) for folder in folders}
        require_common(path, manifests)
        pictures = Pictures.read(path / "pictures")
        known = set(pictures.queries.ids)
        scores = {folder.name: ScoreEnds.read(folder) for folder in folders}
        whole = {name: ends for name, ends in scores.items() if set(ends.queries) <= known}
        if not whole:
            raise ArtefactError(
                f"{path} holds scores of steps only; a report needs scores of whole pictures beside them."
            )
        units = {name: None if ends.units is None else ends.units.examples for name, ends in whole.items()}
        alike = {name: (ends.queries, ends.examples, units[name]) for name, ends in whole.items()}
        require_equal(path, alike, "queries, examples or units")
        facts = artefacts.read_manifest(path / "pictures", "pictures").facts
        return cls(
            path=path,
            scores=dict(sorted(whole.items(), key=lambda pair: (pair[1].draws is None, pair[0]))),
            manifests={name: manifests[name] for name in whole},
            pictures=pictures,
            facts={str(name): str(value) for name, value in facts.items()},
            norms=read_norms(path / "norms.parquet"),
            steps=tuple(name for name in scores if name not in whole),
        )


def end_cards(folder: EndsFolder) -> Iterator[QueryCard]:
    """A card for every query of the page, one at a time."""
    for q, query in enumerate(folder.any.queries[:QUERIES]):
        picture = Picture(data_uri(folder.pictures.query(query), LARGE), f"Query {query}", f"Query {query}")
        results = tuple(_result(name, ends, query) for name, ends in folder.scores.items())
        yield QueryCard(f"query-{q}", query, picture, results)


def _result(name: str, ends: ScoreEnds, query: str) -> MethodResult:
    """The first and last scores of a query by one method, and its units at both ends."""
    ranking = Ranking(kept_scores(ends, query), 0, count=ends.examples)
    if ends.units is None:
        return method_result(name, ranking)
    own = Ranking(ends.units, ends.queries.index(query), tested=ends.combine == "sum")
    sizes = dict(zip(ends.units.examples, ends.unit_sizes, strict=True))
    return method_result(name, ranking, unit_entries(own, sizes))


def kept_scores(ends: ScoreEnds, query: str) -> Scores:
    """Return the scores that were kept of one query, [1, n]."""
    rows = ends.rows(query).to_pydict()
    errors = None if ends.draws is None else torch.tensor([rows["standard_error"]])
    return Scores(
        scores=torch.tensor([rows["score"]]),
        queries=(query,),
        examples=tuple(rows["example"]),
        units=tuple(map(tuple, rows["units"])),
        method=ends.method,
        estimand=ends.estimand,
        sign=ends.sign,
        combine=ends.combine,
        standard_error=errors,
        draws=ends.draws,
    )
