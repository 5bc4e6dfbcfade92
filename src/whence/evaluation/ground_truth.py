"""Exact influence of every unit of an encoded ensemble: how much the unit pulled the ensemble towards a picture.

The loss of every ablation follows from the members' residuals (`whence.ensemble.losses`), so only the mean over draws
is estimated. The ranking of the units is about *this* ensemble: units with similar code words share their influence. A
second one on the same data shares what is true of the images; the rest is chance: the ceiling of any estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.stats import rankdata

from whence.data import Dataset
from whence.ensemble import Ensemble
from whence.ensemble.landscape import landscapes
from whence.ensemble.losses import METHOD, Losses
from whence.errors import DataError, MismatchError
from whence.scores.scores import Scores
from whence.statistics.ranks import TOP, Agreement, agreement, require_scores, top_columns
from whence.statistics.statistic import Statistic, mean_of

CORRELATION, RECALL = "rank correlation", f"recall@{TOP}"
ABOVE, AREA = f"above placebos: recall@{TOP}", "above placebos: area under ROC"


@dataclass(frozen=True, eq=False)
class RankingAgreement:
    """How well a ranking of units agrees with their exact influence, and ranks those above placebos, by query."""

    ranks: Agreement
    above: Detection

    def statistics(self) -> dict[str, Statistic]:
        """Return means over the queries where they are defined, each with interval and chance, by name.

        `CORRELATION` and `RECALL` are over the queries whose units have different scores, `ABOVE` and `AREA` over the
        queries where a unit rises above placebos. A mean over no query is left out.
        """
        of_query = {
            CORRELATION: (self.ranks.correlations, 0.0),
            RECALL: (self.ranks.recalls, self.ranks.chance),
            ABOVE: (self.above.recalls, self.above.chance),
            AREA: (self.above.areas, 0.5),
        }
        defined = {name: (values[~np.isnan(values)], chance) for name, (values, chance) in of_query.items()}
        return {name: mean_of(values, chance) for name, (values, chance) in defined.items() if len(values)}

    def lead_over(self, other: RankingAgreement) -> Statistic:
        """Return how much larger the rank correlation is than another ranking's: mean over queries, paired."""
        differences = self.ranks.correlations - other.ranks.correlations
        return mean_of(differences[~np.isnan(differences)], chance=0.0)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Exact influence of every unit on some pictures.

    Attributes:
        name: The ensemble.
        data: Its training examples, with their units.
        queries: Ids of the pictures, Q.
        units: Unit ids, U.
        influence: Loss without the unit minus the loss without as many other members, float64 [Q, U]; positive: the
            unit pulled the ensemble towards the picture.
        above: Whether the influence rises above that of placebos, corrected for the number of units, bool [Q, U].
        process: How the members of the ensemble are combined.
    """

    name: str
    data: Dataset
    queries: tuple[str, ...]
    units: tuple[str, ...]
    influence: np.ndarray
    above: np.ndarray
    process: str = ""

    @classmethod
    def of(cls, ensemble: Ensemble, losses: Losses) -> Self:
        """Return the exact influence that follows from the losses of an ensemble."""
        readings = [losses.influence_on(query) for query in losses.queries]
        units = losses.units
        return cls(
            name=str(ensemble.path),
            data=ensemble.data,
            queries=losses.queries,
            units=units,
            influence=np.stack([reading.effects.numpy() for reading in readings]),
            above=np.stack([np.isin(units, reading.influential) for reading in readings]),
            process=losses.process,
        )

    def compare(self, scores: Scores) -> RankingAgreement:
        """Return how the ranking of the units by scores agrees with their exact influence.

        Scores of examples are added up over the units of the ensemble; units that stand in the scores don't count. Of
        unsigned scores the largest counts.

        Raises:
            DataError: The scores are of other pictures, or of other training examples or units.
            MismatchError: They are exact losses of members that are combined in another way.
        """
        if scores.method == METHOD and scores.estimand.process != self.process:
            raise MismatchError(
                f"The scores are exact losses of an {scores.estimand.process}, the truth those of an {self.process}. "
                "Measure both with the same --combine."
            )
        ranking = self.ranking(scores)
        return RankingAgreement(agreement(self.queries, ranking, self.influence), detection(ranking, self.above))

    def ranking(self, scores: Scores) -> np.ndarray:
        """Return scores by unit in the order of the queries and units here, float64 [Q, U]; see `compare`."""
        of_units = scores.estimand.units == "unit"
        units = {u: (u,) for u in self.units} if of_units else dict(zip(self.data.ids, self.data.units, strict=True))
        self._require_same("pictures", scores.method, self.queries, scores.queries)
        self._require_same("units" if of_units else "training examples", scores.method, tuple(units), scores.examples)
        by_unit = replace(
            scores, units=tuple(units[name] for name in scores.examples), standard_error=None, deviations=None
        ).by_unit()
        rows = [by_unit.queries.index(name) for name in self.queries]
        column = {name: u for u, name in enumerate(by_unit.examples)}
        ordered: np.ndarray = by_unit.scores.double().numpy()[rows][:, [column[unit] for unit in self.units]]
        return ordered

    def _require_same(self, noun: str, method: str, exact: Sequence[str], scored: Sequence[str]) -> None:
        """Raise DataError unless scores are of the same things, in any order."""
        if set(exact) != set(scored):
            raise DataError(
                f"The scores by {method} are of {len(scored):,} {noun} ({', '.join(scored[:3])} ...), the exact losses "
                f"of {self.name} of {len(exact):,} ({', '.join(exact[:3])} ...). They must be the same."
            )


@dataclass(frozen=True, eq=False)
class Detection:
    """How scores rank the units above placebos; NaN for queries where no unit is above placebos, or every unit.

    Attributes:
        recalls: Units above placebos that are in the top k, divided by how many can be there, float64 [Q].
        areas: Area under the ROC curve, float64 [Q]: the chance that a unit above placebos has a larger score than
            another unit; a tie counts half. 1 is perfect, 1/2 is chance.
        chance: Mean of the recalls of a random ranking; NaN without such queries.
    """

    recalls: np.ndarray
    areas: np.ndarray
    chance: float


def detection(scores: np.ndarray, above: np.ndarray, top: int = TOP) -> Detection:
    """Return how scores [Q, U], larger is more, rank the units that rise above placebos, bool [Q, U].

    With n of U units above placebos: recall = |top k and above| / min(k, n), by chance k n / (U min(k, n)); area = (sum
    of their ranks - n (n + 1) / 2) / (n (U - n)), the Mann-Whitney statistic.

    Raises:
        DataError: The shapes differ, there is no query or unit, or a score is NaN.

    Example:
        >>> scores = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
        >>> result = detection(scores, scores[:1] == [[4, 0, 0, 1], [0, 0, 0, 0]], top=2)
        >>> result.recalls.tolist(), result.areas.tolist(), result.chance
        ([0.5, nan], [0.5, nan], 0.5)
    """
    require_scores(scores)
    if above.shape != scores.shape:
        raise DataError(f"Scores {scores.shape} and units above placebos {above.shape} must be of the same shape.")
    units, number = scores.shape[1], above.sum(1)
    top, others = min(top, units), units - number
    defined = (number > 0) & (others > 0)
    fit = np.where(defined, np.minimum(top, number), np.nan)
    hits = np.take_along_axis(above, top_columns(scores, top), 1).sum(1)
    over = (rankdata(scores, axis=1) * above).sum(1) - number * (number + 1) / 2
    areas = np.divide(over, number * others, out=np.full(len(scores), np.nan), where=defined)
    chance = (top * number / units / fit)[defined]
    return Detection(hits / fit, areas, float(chance.mean()) if len(chance) else np.nan)


def ceiling(ensemble: Ensemble, second: Ensemble) -> Agreement:
    """Return how the landscapes of two ensembles on the same data agree, for all pictures of which both have one.

    Raises:
        DataError: They have no landscape in common.
    """
    require_independent(ensemble, second)
    first, other = ({landscape.sample: landscape for landscape in landscapes(source)} for source in (ensemble, second))
    samples = [name for name in first if name in other]
    if not samples:
        raise DataError(
            f"{ensemble.path} and {second.path} have no landscape of the same picture. First: "
            "whence ensemble landscape, with the same --samples, for both."
        )
    order = [second.codebook.units.index(unit) for unit in ensemble.codebook.units]
    return agreement(
        samples,
        np.stack([first[name].distances.numpy() for name in samples]),
        np.stack([other[name].distances.numpy()[order] for name in samples]),
    )


def require_independent(ensemble: Ensemble, second: Ensemble) -> None:
    """Raise MismatchError unless two ensembles were trained on the same data by other code words."""
    data = [str(source.manifest.inputs["data"]) for source in (ensemble, second)]
    if data[0] != data[1]:
        raise MismatchError(
            f"{ensemble.path} and {second.path} were trained on different data, with the fingerprints {data[0]} and "
            f"{data[1]}; the ceiling needs the same."
        )
    if np.array_equal(ensemble.codebook.bits, second.codebook.bits):
        raise MismatchError(
            f"{ensemble.path} and {second.path} have the same code words, so chance is the same in both. Train the "
            "second with another --codebook-seed and another --seed."
        )
