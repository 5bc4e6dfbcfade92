"""Linear datamodeling scores of several methods side by side: the same subsets, queries and resamples for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.pool import Pool
from whence.evaluation.prediction.ceiling import ceiling_of, is_deterministic, seed_agreement, share_of_ceiling
from whence.evaluation.prediction.lds import Form, predictions
from whence.seeds import derived_seed
from whence.statistics.bootstrap import Interval
from whence.statistics.correlations import Correlations, Difference, difference, draw_resamples
from whence.statistics.statistic import Statistic

#: Name of the row of scores that are random normal numbers.
RANDOM = "random"


@dataclass(frozen=True, eq=False)
class LdsRow:
    """The linear datamodeling scores of one method.

    Attributes:
        name: The method.
        lds: LDS of every query, over all subsets and over resamples.
        share: Mean LDS over the ceiling; None where the ceiling isn't known.
        to_best: Mean LDS minus that of the best method; None for the best itself.
    """

    name: str
    lds: Correlations
    share: Statistic | None
    to_best: Difference | None

    def record(self, queries: Sequence[str]) -> dict[str, Any]:
        """Return the row as JSON values, with the names of the queries."""
        mean, sd = self.lds.published
        lds = zip(queries, self.lds.of_query, strict=True)
        return {
            "name": self.name,
            "lds": _statistic_record(self.lds.mean),
            "bootstrap_mean_as_published": {"mean": _json_number(mean), "standard_deviation": _json_number(sd)},
            "share_of_ceiling": _statistic_record(self.share),
            "minus_best": _difference_record(self.to_best),
            "queries_without": int((~self.lds.defined).sum()),
            "of_query": {name: _json_number(value) for name, value in lds},
        }


@dataclass(frozen=True, eq=False)
class LdsTable:
    """Linear datamodeling scores of several methods.

    Attributes:
        pool: Name of the pool.
        subsets: Number of its subsets, S.
        seeds: Number of training seeds whose mean loss is predicted, K.
        form: What is added up over the examples of a subset.
        queries: Ids of the queries.
        agreement: Mean correlation between two seeds; None where it isn't known, or where seeds add no noise.
        agreement_from: Name of the pool on which the agreement was measured.
        ceiling: The LDS of a perfect prediction; None where it isn't known.
        rows: The methods, best first.
    """

    pool: str
    subsets: int
    seeds: int
    form: Form
    queries: tuple[str, ...]
    agreement: Statistic | None
    agreement_from: str | None
    ceiling: Statistic | None
    rows: tuple[LdsRow, ...]

    def record(self) -> dict[str, Any]:
        """Return the table as JSON values, with the figures of every query; null where a figure is NaN.

        Example:
            >>> kept, losses = np.eye(4, dtype=bool), np.arange(4.0).reshape(4, 1, 1)
            >>> pool = Pool("test", kept, (0,), losses, np.zeros((4, 1, 0, 1, 8, 8), np.uint8), (("a",),) * 4)
            >>> record = lds_table(pool, np.array([0]), ["q"], {"mine": -np.arange(4.0)[None]}).record()
            >>> record["methods"][0]["name"], record["methods"][0]["lds"]["value"], record["ceiling"]
            ('mine', 1.0, None)
        """
        return {
            "pool": self.pool,
            "subsets": self.subsets,
            "seeds": self.seeds,
            "form": str(self.form),
            "agreement_between_seeds": _statistic_record(self.agreement),
            "agreement_from_pool": self.agreement_from,
            "ceiling": _statistic_record(self.ceiling),
            "methods": [row.record(self.queries) for row in self.rows],
        }


def lds_table(
    pool: Pool,
    columns: np.ndarray,
    queries: Sequence[str],
    methods: Mapping[str, np.ndarray],
    form: Form = Form.PLAIN,
    noise: Pool | None = None,
) -> LdsTable:
    """Measure methods against retrained models.

    Args:
        pool: The models.
        columns: Places of the queries among those of the pool, int [Q].
        queries: Ids of the queries, Q.
        methods: Scores [Q, N] by name of the method; positive is proponent. A row of random scores is added.
        form: What is added up over the examples of a subset.
        noise: Pool whose training seeds are compared to get the ceiling; see `noise_pool`.

    Returns:
        The table; a method without any LDS comes last.

    Raises:
        DataError: There is no query, or shapes don't fit.
    """
    if not len(columns):
        raise DataError("There is no query to measure on; attribute other queries of the bank, or ask for all of them.")
    losses, counts = pool.mean[:, columns], _resamples(pool)
    seeds = None if noise is None else seed_agreement(noise.losses[:, :, columns], _resamples(noise))
    random = np.random.default_rng(derived_seed(0, RANDOM)).normal(size=(len(columns), pool.kept.shape[1]))
    lds = {
        name: Correlations.measure(predictions(pool.kept, scores, form), -losses, counts)
        for name, scores in {**methods, RANDOM: random}.items()
    }
    names = sorted(lds, key=lambda name: np.nan_to_num(-lds[name].mean.value, nan=np.inf))
    rows = tuple(
        LdsRow(
            name,
            lds[name],
            _share(pool, lds[name], seeds),
            difference(lds[name], lds[names[0]], subsets=len(losses)) if name != names[0] else None,
        )
        for name in names
    )
    return LdsTable(
        pool=pool.name,
        subsets=len(losses),
        seeds=len(pool.seeds),
        form=form,
        queries=tuple(queries),
        agreement=None if seeds is None else seeds.mean,
        agreement_from=None if seeds is None or noise is None else noise.name,
        ceiling=_ceiling(pool, seeds),
        rows=rows,
    )


def noise_pool(pools: Mapping[str, Pool], name: str) -> Pool | None:
    """Return the pool whose training seeds show the noise in a pool: itself, or one whose subsets are as large.

    None where there is no such pool, and for a deterministic pool, in which seeds add no noise.
    """
    if is_deterministic(name):
        return None
    sizes = set(pools[name].kept.sum(1).tolist())
    for pool in (pools[name], *pools.values()):
        alike = not is_deterministic(pool.name) and set(pool.kept.sum(1).tolist()) == sizes
        if alike and len(pool.seeds) > 1:
            return pool
    return None


def _resamples(pool: Pool) -> np.ndarray:
    """The resamples of a pool's subsets, the same for all that is measured on it."""
    return draw_resamples(len(pool.kept), seed=derived_seed(0, f"resamples of {pool.name}"))


def _share(pool: Pool, lds: Correlations, seeds: Correlations | None) -> Statistic | None:
    """The share of the ceiling, if that is known."""
    if is_deterministic(pool.name):
        return lds.mean
    return None if seeds is None else share_of_ceiling(lds, seeds, len(pool.seeds))


def _ceiling(pool: Pool, seeds: Correlations | None) -> Statistic | None:
    """The ceiling, if it is known: 1 where repeated runs are the same to the last bit."""
    if is_deterministic(pool.name):
        return Statistic(1.0, Interval(1.0, 1.0, 0.95, 0, 0), 0.0)
    return None if seeds is None else ceiling_of(seeds, len(pool.seeds))


def _statistic_record(statistic: Statistic | None) -> dict[str, Any] | None:
    if statistic is None:
        return None
    interval = {name: _json_number(value) for name, value in vars(statistic.interval).items()}
    return {"value": _json_number(statistic.value), "interval": interval, "chance": statistic.chance}


def _difference_record(lead: Difference | None) -> dict[str, Any] | None:
    if lead is None:
        return None
    facts = {"told_apart": lead.told_apart, "subsets_needed": lead.needed, "queries": lead.queries}
    return {**(_statistic_record(lead.statistic) or {}), **facts}


def _json_number(value: float) -> float | int | None:
    """A number that JSON can hold; None for NaN and infinity."""
    if not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)
