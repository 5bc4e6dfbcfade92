"""Linear datamodeling scores of several methods side by side: the same subsets, queries and resamples for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whence.errors import DataError
from whence.evaluation.bank.pool import Pool
from whence.evaluation.prediction.ceiling import ceiling_of, is_deterministic, seed_agreement, share_of_ceiling
from whence.evaluation.prediction.comparison import Difference, difference
from whence.evaluation.prediction.lds import Form, predictions
from whence.seeds import derived_seed
from whence.statistics.bootstrap import Interval
from whence.statistics.statistic import Statistic as Statistic
from whence.statistics.uncertainty import Correlations, resamples_of

#: Name of the row of scores that are random normal numbers.
RANDOM = "random"


@dataclass(frozen=True, eq=False)
class Row:
    """The linear datamodeling scores of one method.

    Attributes:
        name: The method.
        lds: Of every query, over all subsets and over resamples.
        share: Mean LDS over the ceiling; None where the ceiling isn't known.
        to_best: Mean LDS minus that of the best method; None for the best itself.
    """

    name: str
    lds: Correlations
    share: Statistic | None
    to_best: Difference | None


@dataclass(frozen=True, eq=False)
class Table:
    """Linear datamodeling scores of several methods.

    Attributes:
        pool: Name of the pool.
        subsets: Its subsets, S.
        seeds: Training seeds whose mean loss is predicted, K.
        form: What is added up over the examples of a subset.
        queries: Ids of the queries.
        agreement: Mean correlation between two seeds; None where none is known, or where there is no noise of seeds.
        agreement_from: Name of the pool that it is from.
        ceiling: The most that a prediction can score; None where it isn't known.
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
    rows: tuple[Row, ...]


def lds_table(
    pool: Pool,
    columns: np.ndarray,
    queries: Sequence[str],
    methods: Mapping[str, np.ndarray],
    form: Form = Form.PLAIN,
    noise: Pool | None = None,
) -> Table:
    """Measure methods against retrained models.

    Args:
        pool: The models.
        columns: Places of the queries among those of the pool, int [Q].
        queries: Their ids, Q.
        methods: Scores [Q, N] by name of the method; positive is proponent. A row of random ones is added.
        form: What is added up.
        noise: Models of which training seeds are compared to get the ceiling; see `noise_pool`.

    Returns:
        The table; a method without any LDS comes last.

    Raises:
        DataError: There is no query, or shapes don't fit.
    """
    if not len(columns):
        raise DataError("There is no query to measure on; attribute other queries of the bank, or ask for all of them.")
    losses, counts = pool.mean[:, columns], _resamples(pool)
    noisy = None if noise is None else seed_agreement(noise.losses[:, :, columns], _resamples(noise))
    random = np.random.default_rng(derived_seed(0, RANDOM)).normal(size=(len(columns), pool.kept.shape[1]))
    found = {
        name: Correlations.measure(predictions(pool.kept, scores, form), -losses, counts)
        for name, scores in {**methods, RANDOM: random}.items()
    }
    names = sorted(found, key=lambda name: np.nan_to_num(-found[name].mean.value, nan=np.inf))
    rows = tuple(
        Row(
            name,
            found[name],
            _share(pool, found[name], noisy),
            difference(found[name], found[names[0]], subsets=len(losses)) if name != names[0] else None,
        )
        for name in names
    )
    return Table(
        pool=pool.name,
        subsets=len(losses),
        seeds=len(pool.seeds),
        form=form,
        queries=tuple(queries),
        agreement=None if noisy is None else noisy.mean,
        agreement_from=None if noisy is None or noise is None else noise.name,
        ceiling=_ceiling(pool, noisy),
        rows=rows,
    )


def noise_pool(pools: Mapping[str, Pool], name: str) -> Pool | None:
    """Return the pool whose seeds tell the noise in another: itself, or one with as large subsets.

    None where there is no such pool, and for a deterministic pool, which has no noise of seeds.
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
    return resamples_of(len(pool.kept), seed=derived_seed(0, f"resamples of {pool.name}"))


def _share(pool: Pool, found: Correlations, noisy: Correlations | None) -> Statistic | None:
    """The share of the ceiling, if that is known."""
    if is_deterministic(pool.name):
        return found.mean
    return None if noisy is None else share_of_ceiling(found, noisy, len(pool.seeds))


def _ceiling(pool: Pool, noisy: Correlations | None) -> Statistic | None:
    """The ceiling, if it is known: 1 where repeated runs are the same to the last bit."""
    if is_deterministic(pool.name):
        return Statistic(1.0, Interval(1.0, 1.0, 0.95, 0, 0), 0.0)
    return None if noisy is None else ceiling_of(noisy, len(pool.seeds))
