"""A table of linear datamodeling scores as JSON values: every figure, of every query too."""

from __future__ import annotations

import math
from typing import Any

from whence.evaluation.prediction.comparison import Difference
from whence.evaluation.prediction.lds_table import Row, Table
from whence.statistics.statistic import Statistic as Statistic


def record(table: Table) -> dict[str, Any]:
    """Return a table as JSON values; what isn't a number is null.

    Example:
        >>> import numpy as np
        >>> from whence.evaluation.bank.pool import Pool
        >>> from whence.evaluation.prediction.lds_table import lds_table
        >>> kept, losses = np.eye(4, dtype=bool), np.arange(4.0).reshape(4, 1, 1)
        >>> pool = Pool("test", kept, (0,), losses, np.zeros((4, 1, 0, 1, 8, 8), np.uint8), (("a",),) * 4)
        >>> found = record(lds_table(pool, np.array([0]), ["q"], {"mine": -np.arange(4.0)[None]}))
        >>> found["methods"][0]["name"], found["methods"][0]["lds"]["value"], found["ceiling"]
        ('mine', 1.0, None)
    """
    return {
        "pool": table.pool,
        "subsets": table.subsets,
        "seeds": table.seeds,
        "form": str(table.form),
        "agreement_between_seeds": _measured(table.agreement),
        "agreement_from_pool": table.agreement_from,
        "ceiling": _measured(table.ceiling),
        "methods": [_row(row, table.queries) for row in table.rows],
    }


def _row(row: Row, queries: tuple[str, ...]) -> dict[str, Any]:
    mean, sd = row.lds.published
    return {
        "name": row.name,
        "lds": _measured(row.lds.mean),
        "bootstrap_mean_as_published": {"mean": _number(mean), "standard_deviation": _number(sd)},
        "share_of_ceiling": _measured(row.share),
        "minus_best": _difference(row.to_best),
        "queries_without": int((~row.lds.defined).sum()),
        "of_query": {name: _number(value) for name, value in zip(queries, row.lds.of_query, strict=True)},
    }


def _measured(found: Statistic | None) -> dict[str, Any] | None:
    if found is None:
        return None
    interval = {name: _number(value) for name, value in vars(found.interval).items()}
    return {"value": _number(found.value), "interval": interval, "chance": found.chance}


def _difference(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    facts = {"told_apart": found.told_apart, "subsets_needed": found.needed, "queries": found.queries}
    return {**(_measured(found.measured) or {}), **facts}


def _number(value: float) -> float | int | None:
    """A number that JSON can hold; None for NaN."""
    whole = isinstance(value, int)
    return None if not math.isfinite(value) else value if whole else float(value)
