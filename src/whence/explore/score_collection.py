"""Scores of one or more methods as a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from whence.data import Dataset
from whence.ensemble import Ensemble
from whence.explore.collection import Entry
from whence.explore.reading import Mention, Reading, Row, Verdict, ranked
from whence.explore.request_error import UnknownNameError
from whence.explore.training import Training
from whence.explore.upload import Uploads, common_size
from whence.ragged import stack_rows
from whence.report.scores.query_card import Ranking
from whence.report.scores.score_folder import ScoreFolder, units_tested
from whence.report.text import plural
from whence.scores.scores import Scores

#: What a key of scores of units ends with.
UNITS = ":units"


@dataclass(eq=False)
class ScoreCollection:
    """Scores of the same queries and training images."""

    folder: ScoreFolder
    training: Training
    uploads: Uploads
    ensemble: Ensemble | None = None
    _rankings: dict[tuple[str, str], Ranking] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> ScoreCollection:
        """Return the scores in a folder, of all queries, checked by hash."""
        folder = ScoreFolder.read(path, whole=True)
        images, scores = folder.pictures.examples, folder.any
        captions = tuple(images.captions) or (None,) * len(images)
        pixels = stack_rows([folder.pictures.example(id) for id in images.ids])
        kept = Dataset(images.ids, pixels, folder.pictures.units, captions)
        return cls(folder, Training(scores.examples, scores.units, kept), Uploads(common_size(kept)))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def command(self) -> str:
        """The command that scores a picture of one's own."""
        facts = self.folder.facts
        return f"whence attribute {facts.get('model', 'MODEL')} {facts.get('data', 'DATA')} --queries FOLDER --out OUT"

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        queries = self.folder.pictures.queries
        captions = dict(zip(queries.ids, queries.captions or ("",) * len(queries), strict=True))
        return {
            name: Entry(name, captions.get(name, ""), "query", shown=name in captions)
            for name in self.folder.any.queries
        }

    def entries(self) -> Mapping[str, Entry]:
        """Return the queries."""
        return self._entries

    def pixels(self, name: str) -> np.ndarray | None:
        """Return the picture of a query; None where it was not kept."""
        return self.folder.pictures.query(name) if self._entries[name].shown else None

    @cached_property
    def _scores(self) -> dict[str, tuple[Scores, bool]]:
        """Scores by key, and whether each of them is tested against noise: of images, then of units."""
        scores = {name: (one, True) for name, one in self.folder.scores.items()}
        if self.folder.grouped:
            scores |= {name + UNITS: (one.by_unit(), units_tested(one)) for name, one in self.folder.scores.items()}
        return scores

    def reading_titles(self, name: str) -> Mapping[str, str]:
        """Return a title for each method, and for each method by contributor where units are more than images."""
        return {key: _title(key) for key in self._scores} if name in self._entries else {}

    def reading(self, name: str, key: str) -> Reading:
        """Return the scores of a query by a method."""
        if key not in self._scores or name not in self._entries:
            raise UnknownNameError("reading of this picture")
        ranking = self._ranking(name, key)
        order = np.argsort(-ranking.row.numpy(), kind="stable").tolist()
        estimand, rows = ranking.scores.estimand, tuple(_row(ranking, n) for n in order)
        return Reading(
            key=key,
            title=_title(key),
            meaning=f"The method explains: {estimand.behaviour}. It imagines: {estimand.intervention}. It is an "
            "estimate; nothing was trained again.",
            answer=_answer(ranking, "contributor" if key.endswith(UNITS) else "training image"),
            of="unit" if key.endswith(UNITS) else "image",
            effect="Score",
            rows=rows,
            signed=ranking.signed,
            interval="" if ranking.half is None else "90%, of the Monte Carlo error alone",
        )

    def mentions(self, unit: str | None, image: str | None) -> Sequence[Mention]:
        """Return the scores of a contributor or training image for all queries, by every method."""
        found, name = [], image if image is not None else unit
        for key, (scores, _) in self._scores.items():
            if name not in scores.examples or (self.folder.grouped and key.endswith(UNITS) == (image is not None)):
                continue
            n = scores.examples.index(name)
            for query in scores.queries:
                ranking = self._ranking(query, key)
                place = 1 + int((ranking.row > ranking.row[n]).sum())
                found.append(Mention(query, key, _title(key), _row(ranking, n), place, len(scores.examples)))
        return ranked(found)

    def _ranking(self, query: str, key: str) -> Ranking:
        if (query, key) not in self._rankings:
            scores, tested = self._scores[key]
            self._rankings[query, key] = Ranking(scores, scores.queries.index(query), tested)
        return self._rankings[query, key]


def _title(key: str) -> str:
    return f"{key.removesuffix(UNITS)}, by contributor" if key.endswith(UNITS) else key


def _row(ranking: Ranking, n: int) -> Row:
    score = ranking.row[n].item()
    half = None if ranking.half is None else ranking.half[n].item()
    if ranking.rises is None:
        verdict: Verdict = "unknown"
        label = "not tested against noise"
    else:
        verdict = "above" if ranking.rises[n] else "within"
        label = "above Monte Carlo noise" if verdict == "above" else "within Monte Carlo noise"
    interval = None if half is None else (score - half, score + half)
    return Row(ranking.scores.examples[n], score, verdict, label, interval)


def _answer(ranking: Ranking, noun: str) -> str:
    draws = plural(ranking.scores.draws, "draw") if ranking.scores.draws else "the draws"
    if not ranking.signed:
        return f"These scores are likeness, not influence: they do not say that a {noun} mattered."
    if ranking.rises is None:
        return f"Whether a {noun} mattered can't be told: these scores have no error that covers them."
    above = [int((ranking.rises & side).sum()) for side in (ranking.row > 0, ranking.row < 0)]
    if not any(above):
        return f"Nobody in particular: no {noun} rises above the Monte Carlo noise of {draws}."
    words = [plural(n, word) for n, word in zip(above, ("proponent", "opponent"), strict=True) if n]
    return f"{' and '.join(words)} rise above the Monte Carlo noise of {draws}, of {len(ranking.row):,}."
