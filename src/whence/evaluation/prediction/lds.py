"""Linear datamodeling scores: do sums of scores predict which training subsets make models of lower loss?

The score of a subset is the sum of the scores of the examples in it. Where scores are true to first order that sum is,
up to a constant, minus the loss of the query under a model trained on the subset. The linear datamodeling score of a
query is Spearman's correlation, over subsets, of the sum with minus the measured loss (Park et al. 2023, TRAK,
arXiv 2303.14186, definition 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.alignment import KINDS, align_scores
from whence.evaluation.bank.bank import Bank
from whence.evaluation.bank.pool import Pool
from whence.evaluation.prediction.ceiling import noise_pool, pool_ceiling, pool_share, seed_agreement
from whence.evaluation.queries import Kind, Use
from whence.scores.stored import StoredScores
from whence.seeds import derived_seed
from whence.statistics.correlations import Correlations, Difference, difference, draw_resamples
from whence.statistics.ranks import spearman_columns
from whence.statistics.statistic import Statistic

#: Name of the row of scores that are random normal numbers.
RANDOM = "random"


class Form(StrEnum):
    """What is added up over the examples of a subset, s being the score of one of them."""

    #: s, as it is: the scores stay additive.
    PLAIN = "plain"
    #: s times its absolute value: large scores count more.
    SIGNED_SQUARES = "signed-squares"
    #: s squared: the sign is given up (DAS, arXiv 2410.18639).
    SQUARES = "squares"

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return what is added up."""
        if self is Form.PLAIN:
            return scores
        squares: np.ndarray = scores * (np.abs(scores) if self is Form.SIGNED_SQUARES else scores)
        return squares


def predictions(kept: np.ndarray, scores: np.ndarray, form: Form = Form.PLAIN) -> np.ndarray:
    """Return what scores predict for every subset: minus its loss, up to a constant and a factor per query, [S, Q].

    The prediction of subset s for query q is the sum over examples n of kept[s, n] f(scores[q, n]), float64; a positive
    score is a proponent. Each summand is first rounded to a multiple of about the largest times N / 2^52. So sums are
    exact in any order, and subsets with equal sums are ties.

    Raises:
        DataError: The subsets and the scores are not of equally many examples, or a score is not finite.

    Example:
        >>> kept = np.array([[True, True, False], [False, True, True]])
        >>> predictions(kept, np.array([[1.0, 2.0, -3.0]])).tolist()
        [[3.0], [-1.0]]
    """
    if kept.ndim != 2 or scores.ndim != 2 or kept.shape[1] != scores.shape[1]:
        raise DataError(f"Subsets [S, N] and scores [Q, N] share their examples; given {kept.shape}, {scores.shape}.")
    if not np.isfinite(scores).all():
        raise DataError("A score is not finite.")
    scale = np.ldexp(1.0, np.frexp(np.abs(scores).max(1, keepdims=True, initial=0.0))[1])
    added, step = form(scores / scale), 2.0 ** (kept.shape[1].bit_length() - 52)
    sums: np.ndarray = kept.astype(np.float64) @ (np.round(added / step) * step).T
    sums *= form(scale).T
    return sums


def lds(kept: np.ndarray, scores: np.ndarray, losses: np.ndarray, form: Form = Form.PLAIN) -> np.ndarray:
    """Return the linear datamodeling score of every query, float64 [Q], from -1 to 1.

    It is positive where the scores [Q, N], positive is proponent, tell which subsets, bool [S, N], have the lower loss,
    the mean over training seeds [S, Q]. It is NaN where all sums or all losses are equal.

    Raises:
        DataError: Shapes don't fit, there are fewer than two subsets, or a value is not finite.

    Example:
        >>> kept = np.array([[True, True, False], [False, True, True], [True, False, True]])
        >>> scores = np.array([[1.0, 2.0, -3.0], [5.0, 5.0, 5.0]])
        >>> lds(kept, scores, losses=10 - kept @ scores.T).tolist()
        [1.0, nan]
    """
    return spearman_columns(predictions(kept, scores, form), -losses)


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
        lds, lead = zip(queries, self.lds.of_query, strict=True), self.to_best
        facts = {"told_apart": lead.told_apart, "subsets_needed": lead.needed, "queries": lead.queries} if lead else {}
        return {
            "name": self.name,
            "lds": _statistic_record(self.lds.mean),
            "bootstrap_mean_as_published": {"mean": _json_number(mean), "standard_deviation": _json_number(sd)},
            "share_of_ceiling": _statistic_record(self.share),
            "minus_best": _statistic_record(lead.statistic if lead else None, **facts),
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
        """Return the table as JSON values, with the figures of every query; null where a figure is NaN."""
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
    """Return the table of methods measured against retrained models, best first; those without any LDS come last.

    Args:
        pool: The models.
        columns: Places of the queries among those of the pool, int [Q].
        queries: Ids of the queries, Q.
        methods: Scores [Q, N] by name of the method; positive is proponent. A row of random scores is added.
        form: What is added up over the examples of a subset.
        noise: Pool whose training seeds are compared to get the ceiling; see `noise_pool`.

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
    to_best = {name: difference(lds[name], lds[names[0]], subsets=len(losses)) for name in names[1:]}
    return LdsTable(
        pool=pool.name,
        subsets=len(losses),
        seeds=len(pool.seeds),
        form=form,
        queries=tuple(queries),
        agreement=None if seeds is None else seeds.mean,
        agreement_from=None if seeds is None or noise is None else noise.name,
        ceiling=pool_ceiling(pool, seeds),
        rows=tuple(LdsRow(name, lds[name], pool_share(pool, lds[name], seeds), to_best.get(name)) for name in names),
    )


def _resamples(pool: Pool) -> np.ndarray:
    """The resamples of a pool's subsets, the same for all that is measured on it."""
    return draw_resamples(len(pool.kept), seed=derived_seed(0, f"resamples of {pool.name}"))


def _statistic_record(statistic: Statistic | None, **facts: Any) -> dict[str, Any] | None:
    if statistic is None:
        return None
    interval = {name: _json_number(value) for name, value in vars(statistic.interval).items()}
    return {"value": _json_number(statistic.value), "interval": interval, "chance": statistic.chance, **facts}


def _json_number(value: float) -> float | int | None:
    """A number that JSON can hold; None for NaN and infinity."""
    return None if not np.isfinite(value) else value if isinstance(value, int) else float(value)


def bank_lds(
    bank: Bank,
    stored: Sequence[StoredScores],
    pool: str = "test",
    kinds: Sequence[Kind] = KINDS,
    use: Use = Use.REPORTED,
    form: Form = Form.PLAIN,
) -> dict[Kind, LdsTable]:
    """Return a table of linear datamodeling scores on a pool for each kind of query of which there are scores.

    Methods are compared on the queries that all of them have. `align_scores` and `Bank.pool` say what is refused.
    """
    models, noise = bank.pool(pool), noise_pool(bank.pools, pool)
    return {
        kind: lds_table(models, aligned.columns, aligned.queries, aligned.methods, form, noise)
        for kind, aligned in align_scores(bank, stored, kinds, use).items()
    }
