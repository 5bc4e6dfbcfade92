"""The ends of scores: the largest and smallest of each query, and the sums over units, without all that is between.

On disk: the table of `whence export` in ``top.parquet``, ids of queries in ``queries.parquet``, the scores of units in
``units/``, which are scores like others, and the rest in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from whence import artefacts, notebook
from whence.artefacts import Manifest
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError
from whence.scores.pictures import ScorePictures
from whence.scores.scores import Estimand, Scores
from whence.scores.table import SCHEMA
from whence.scores.top import TopScores

#: The kind of their artefacts.
KIND = "top scores"


@dataclass(frozen=True, eq=False, repr=False)
class ScoreEnds:
    """The K proponents and K opponents of each query among N training examples, and the scores of all units.

    Attributes:
        table: Rows of `to_table(scores, top=K)` of the whole scores: ranks, scores and standard errors are theirs.
            There are opponents only of methods with a sign.
        queries: Ids of the queries, Q.
        examples: N, the number of training examples.
        count: K.
        method: Name of the method.
        estimand: What a score estimates.
        sign: "positive is proponent" or "unsigned".
        combine: How the score of a unit is made of those of its examples: "sum", or "max" for the largest.
        draws: Draws of each example.
        units: Scores of all units [Q, U], as of `Scores.by_unit`; None where each example is a unit by itself.
        unit_sizes: The number of examples of each unit, U.
        pictures: Pictures that are known.
    """

    table: pa.Table
    queries: tuple[str, ...]
    examples: int
    count: int
    method: str
    estimand: Estimand
    sign: Literal["positive is proponent", "unsigned"]
    combine: Literal["sum", "max"]
    draws: int | None = None
    units: Scores | None = None
    unit_sizes: tuple[int, ...] = ()
    pictures: ScorePictures | None = None

    def __repr__(self) -> str:
        size = f"the first {self.count} of {self.examples:,} examples, {len(self.queries)} queries"
        return f"ScoreEnds({self.method}: {size}, {self.draws or 'no'} draws, {self.sign})"

    @cached_property
    def _places(self) -> dict[str, int]:
        """The first row of each query in the table."""
        places: dict[str, int] = {}
        for row, name in enumerate(self.table.column("query").to_pylist()):
            places.setdefault(name, row)
        return places

    def rows(self, query: str) -> pa.Table:
        """Return the rows of one query; DataError where there is no such query."""
        if query not in self._places:
            raise DataError(f"There is no query {query!r} in these scores; they have {', '.join(self.queries[:5])} ...")
        starts = [*self._places.values(), len(self.table)]
        start = self._places[query]
        return self.table.slice(start, starts[starts.index(start) + 1] - start)

    def top(self, query: str, count: int) -> TopScores:
        """Return the `count` examples with the largest scores for a query, best first.

        Raises:
            DataError: There is no such query.
            ConfigError: More than K are asked for.
        """
        self._require(count)
        return self._listed(self.rows(query).slice(0, count), f"{self.method}: query {query}")

    def opponents(self, query: str, count: int) -> TopScores:
        """Return the `count` examples with the smallest scores below 0, smallest first; none of an unsigned method.

        Raises:
            DataError: There is no such query.
            ConfigError: More than K are asked for.
        """
        self._require(count)
        rows = self.rows(query)
        below = rows.filter(rows.column("opponent"))
        last = below.take(pa.array(range(len(below) - 1, max(-1, len(below) - 1 - count), -1), pa.int64()))
        return self._listed(last, f"{self.method}: opponents of query {query}")

    def _require(self, count: int) -> None:
        if self.count < min(count, self.examples):
            raise ConfigError(
                f"The first {self.count} of each picture were kept; given {count}. Run `whence attribute` with --top "
                f"{count}."
            )

    def _listed(self, rows: pa.Table, title: str) -> TopScores:
        names, values, errors = (rows.column(name).to_pylist() for name in ("example", "score", "standard_error"))
        known = None if None in errors else errors
        return TopScores(list(zip(names, values, strict=True)), title, known, self.pictures)

    def pieces(self, top: int | None) -> Iterator[pa.Table]:
        """Yield the rows with the largest `top` of each query, and with the smallest ones below 0; default all.

        Raises:
            ConfigError: More than K are asked for.
        """
        if top is None or top >= self.count:
            self._require(top or 0)
            yield self.table
            return
        rank = self.table.column("rank")
        opponents = pc.and_(pc.greater(rank, self.examples - top), self.table.column("opponent"))
        yield self.table.filter(pc.or_(pc.less_equal(rank, top), opponents))

    def _repr_html_(self) -> str:
        pictures, rows = self.pictures or ScorePictures(), []
        for query in self.queries[: notebook.MOST // 6]:
            best = self.top(query, min(5, self.count, self.examples))
            cells = [notebook.picture(pictures.examples.get(name), name, f"{value:.4g}") for name, value in best]
            rows.append((notebook.picture(pictures.queries.get(query), query), Markup("").join(cells)))
        return notebook.table(repr(self), ("query", "largest scores"), rows)

    def write(self, path: Path, inputs: Mapping[str, str], settings: Mapping[str, Any] | None = None) -> Manifest:
        """Return the manifest of the ends as an artefact at `path`; the same stay, others are replaced.

        `inputs` are fingerprints of what they were made from, `settings` further settings of the method.
        """
        names = ("method", "sign", "combine", "draws", "examples", "count")
        made = {name: getattr(self, name) for name in names} | {"estimand": vars(self.estimand), **(settings or {})}
        made["values"] = artefacts.digest(self.table.to_pydict())
        if self.units is not None:
            made["units"] = artefacts.digest(self.units.scores.float().numpy().tobytes())
        try:
            found = artefacts.existing(path, KIND, inputs=inputs, made=made)
        except (ArtefactError, MismatchError):
            found = None
        if found is not None:
            return found
        artefacts.discard(Path(f"{path}.part"))
        with artefacts.create(path, KIND, inputs=inputs, made=made) as part:
            artefacts.write_table(part / "top.parquet", {name: self.table[name] for name in SCHEMA.names})
            artefacts.write_table(part / "queries.parquet", {"id": list(self.queries)})
            if self.units is not None:
                self.units.write(part / "units", inputs)
                sizes = {"id": list(self.units.examples), "examples": list(self.unit_sizes)}
                artefacts.write_table(part / "units.parquet", sizes)
        return artefacts.read_manifest(path, KIND)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> ScoreEnds:
        """Return the ends at `path`, after a check of every file against its hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        manifest = artefacts.read_verified(path, KIND)
        names = ("method", "sign", "combine", "draws", "examples", "count")
        units, sizes = None, list[int]()
        if "units" in manifest.parts:
            artefacts.require_part(path, manifest, "units", "scores")
            units, sizes = Scores.read(path / "units"), artefacts.read_table(path / "units.parquet")["examples"]
        return cls(
            table=pa.table(artefacts.read_table(path / "top.parquet"), schema=SCHEMA),
            queries=tuple(artefacts.read_table(path / "queries.parquet")["id"]),
            estimand=Estimand(**manifest.made["estimand"]),
            units=units,
            unit_sizes=tuple(sizes),
            **{name: manifest.made[name] for name in names},
        )
