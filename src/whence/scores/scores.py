"""Scores: how strongly each training example is tied to each query, and what the numbers mean.

On disk: ``scores.safetensors`` (tensors ``scores`` and, where they are known, ``standard_error``, both [Q, N], and
``deviations``), the ids in ``queries.parquet`` and ``examples.parquet`` (with the units), the rest in the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from whence import artefacts, notebook
from whence.artefacts import Manifest
from whence.data.own_units import OwnUnits
from whence.errors import ArtefactError, DataError, MismatchError
from whence.lazy import torch
from whence.scores.arrays import ScoreArrays, require_consistent, stored_fields
from whence.scores.pictures import ScorePictures
from whence.scores.top import TopScores

if TYPE_CHECKING:
    from torch import Tensor

    from whence.data import Dataset


@dataclass(frozen=True)
class Estimand:
    """What a score estimates."""

    behaviour: str  # the quantity of the query that is explained
    intervention: str  # what is imagined to change
    process: str  # the training process over which it is imagined
    model: str  # the model, by fingerprint, or "none"
    units: str  # what one column stands for


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of N training examples for Q queries, whose ids are distinct.

    "Positive is proponent": training on the example pulled the model towards the query. "Unsigned": larger is closer,
    and the sign means nothing. Without draws there are no errors. `deviations` are the jackknife's: the score without a
    group of draws minus the mean of these, in standard errors; from these come the standard errors of sums.

    Raises:
        WhenceError: A shape doesn't fit the ids, ids repeat, or a score is not finite.

    Example:
        >>> estimand = Estimand("pixels", "none", "none", "none", "example")
        >>> scores = Scores(torch.tensor([[1.0, 3.0, 2.0]]), ("q",), ("a", "b", "c"), (("u",), ("v",), ("u",)),
        ...                 "pixel", estimand, "unsigned", "max")
        >>> scores.top("q", 2)
        pixel: query q
          1  b      3
          2  c      2
        >>> scores.by_unit().top("q", 2)
        pixel: query q
          1  v      3
          2  u      2
    """

    scores: Tensor  # float32 [Q, N]; float64 where dampings are compared
    queries: tuple[str, ...]  # ids, Q
    examples: tuple[str, ...]  # ids, N
    units: Sequence[tuple[str, ...]]  # units of every example, N
    method: str  # name of the method
    estimand: Estimand  # what the scores estimate
    sign: Literal["positive is proponent", "unsigned"]
    combine: Literal["sum", "max"]  # how examples make a unit: their sum, or their largest where sums mean nothing
    standard_error: Tensor | None = None  # Monte Carlo error of every score [Q, N]
    draws: int | None = None  # draws for each example and query
    deviations: Tensor | None = None  # float16 [8, Q, N]; None where they weren't kept
    recall: Mapping[str, Any] | None = None  # share of the top that is here, where a prefilter chose the examples
    pictures: ScorePictures | None = field(default=None, compare=False)  # for notebooks; None where none are known

    def __post_init__(self) -> None:
        tensors = {"scores": self.scores, "standard_error": self.standard_error}
        arrays = {name: None if tensor is None else tensor.detach().numpy() for name, tensor in tensors.items()}
        require_consistent(arrays, self.queries, self.examples, self.units)

    def __repr__(self) -> str:
        size = f"{len(self.queries)} queries, {len(self.examples):,} examples"
        return f"Scores({self.method}: {size}, {self.draws or 'no'} draws, {self.sign})"

    def row(self, query: str) -> Tensor:
        """Return the scores of one query, [N]; DataError where there is no such query."""
        if query not in self.queries:
            raise DataError(f"There is no query {query!r} in these scores; they have {', '.join(self.queries[:5])} ...")
        return self.scores[self.queries.index(query)]

    def top(self, query: str, count: int) -> TopScores:
        """Return the `count` examples with the largest scores for a query, best first; ties by position.

        It is a list of pairs (id, score), and a table for people.
        """
        row = self.row(query)
        best = torch.argsort(row, descending=True, stable=True)[:count].tolist()
        pairs = [(self.examples[n], row[n].item()) for n in best]
        known = self.standard_error
        errors = None if known is None else known[self.queries.index(query)][best].tolist()
        return TopScores(pairs, f"{self.method}: query {query}", errors, self.pictures)

    def to_pandas(self, top: int | None = None) -> Any:
        """Return the scores as a data frame of pandas, with the columns and rows of `whence export`.

        With `top`, only so many of the largest and of the smallest scores of each query.

        Raises:
            ConfigError: pandas is not installed, or `top` is below 1.
        """
        from whence.scores.table import to_data_frame

        return to_data_frame(ScoreArrays.of(self), top)

    def with_pictures(self, data: Dataset | None = None, queries: Dataset | None = None) -> Scores:
        """Return the same scores with the pictures of training examples and queries, which notebooks show."""
        return replace(self, pictures=ScorePictures.of(data, queries))

    def _repr_html_(self) -> str:
        pictures, rows = self.pictures or ScorePictures(), []
        for query in self.queries[: notebook.MOST // 6]:
            best = self.top(query, 5)
            cells = [notebook.picture(pictures.examples.get(name), name, f"{value:.4g}") for name, value in best]
            rows.append((notebook.picture(pictures.queries.get(query), query), Markup("").join(cells)))
        return notebook.table(repr(self), ("query", "largest scores"), rows)

    def by_unit(self) -> Scores:
        """Return scores of units instead of examples, in order of the units' first appearance.

        Standard errors of sums come from the deviations of the jackknife. Where these weren't kept, errors add in
        quadrature, as if they were independent.
        """
        members: dict[str, list[int]] = {}
        for n, units in enumerate(self.units):
            for unit in dict.fromkeys(units):
                members.setdefault(unit, []).append(n)
        names, rows = tuple(members), list(members.values())
        error = None
        if self.combine == "sum":
            scores = torch.stack([self.scores[:, r].sum(1) for r in rows], dim=1)
            if self.standard_error is not None:
                error = torch.stack([self._error_of_sum(self.standard_error, r) for r in rows], dim=1)
        else:
            largest = [self.scores[:, r].max(1) for r in rows]
            scores = torch.stack([most.values for most in largest], dim=1)
            if self.standard_error is not None:
                pairs = zip(rows, largest, strict=True)
                errors = [self.standard_error[:, r].gather(1, most.indices[:, None])[:, 0] for r, most in pairs]
                error = torch.stack(errors, dim=1)
        return replace(
            self,
            scores=scores,
            examples=names,
            units=OwnUnits(names),
            estimand=replace(self.estimand, units="unit"),
            standard_error=error,
            deviations=None,
        )

    def _error_of_sum(self, error: Tensor, columns: list[int]) -> Tensor:
        """Return the standard error of the sum over some columns, [Q]."""
        if self.deviations is None:
            return error[:, columns].square().sum(1).sqrt()
        sums = (self.deviations[:, :, columns].float() * error[:, columns]).sum(2)
        groups = len(sums)
        return ((groups - 1) / groups * sums.square().sum(0)).sqrt()

    def write(
        self, path: Path, inputs: Mapping[str, str], settings: Mapping[str, Any] | None = None, *, renew: bool = False
    ) -> Manifest:
        """Return the manifest of the scores as an artefact, written unless the same scores are at `path`.

        `inputs` are fingerprints of what they were made from, `settings` further settings of the method.

        Raises:
            MismatchError: Other scores are at `path`, and `renew` is False; if it is True, they are replaced.
            ArtefactError: The scores at `path` are damaged, and `renew` is False.
        """
        made = {
            "method": self.method,
            "estimand": vars(self.estimand),
            "sign": self.sign,
            "combine": self.combine,
            "draws": self.draws,
            "values": artefacts.digest(self.scores.float().numpy().tobytes()),
            **(settings or {}),
        }
        if self.units != OwnUnits(self.examples):
            made["units"] = artefacts.digest(self.units)
        if self.recall is not None:
            made["recall"] = dict(self.recall)
        try:
            manifest = artefacts.existing(path, "scores", inputs=inputs, made=made)
        except ArtefactError:
            if not renew:
                raise
            manifest = None
        if manifest is not None and self._shows_as(Scores.read(path)):
            return manifest
        if manifest is not None and not renew:
            raise MismatchError(
                f"{path} has scores with the same values, but of other queries or examples, or with other standard "
                "errors. Use another directory, or delete this one."
            )
        with artefacts.create(path, "scores", inputs=inputs, made=made) as part:
            tensors = {"scores": self.scores.float()}
            if self.standard_error is not None:
                tensors["standard_error"] = self.standard_error.float()
            if self.deviations is not None:
                tensors["deviations"] = self.deviations.half()
            artefacts.write_tensors(part / "scores.safetensors", tensors)
            artefacts.write_table(part / "queries.parquet", {"id": list(self.queries)})
            artefacts.write_table(
                part / "examples.parquet", {"id": list(self.examples), "units": [list(u) for u in self.units]}
            )
        return artefacts.read_manifest(path, "scores")

    def _shows_as(self, other: Scores) -> bool:
        """Whether scores of equal values have the same names and standard errors too."""
        errors = (self.standard_error, other.standard_error)
        same = errors[0] is errors[1] or (
            errors[0] is not None and errors[1] is not None and torch.equal(errors[0].float(), errors[1].float())
        )
        return same and (self.queries, self.examples) == (other.queries, other.examples)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Scores:
        """Return the scores at `path`, after a check of every file against its hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        fields, made = stored_fields(path, artefacts.read_tensors), artefacts.read_manifest(path, "scores").made
        return cls(**fields | {"estimand": Estimand(**fields["estimand"]), "recall": made.get("recall")})
