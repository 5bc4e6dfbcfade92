"""From the tally of a method to the ends of its scores, with the names of examples and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from whence.data.own_units import OwnUnits
from whence.lazy import torch
from whence.scores.ends import ScoreEnds
from whence.scores.scores import Scores
from whence.scores.table import end_ranks, rows_of

if TYPE_CHECKING:
    from torch import Tensor

    from whence.scores.tally import Tally


def make_ends(
    tally: Tally,
    queries: Sequence[str],
    examples: Sequence[str],
    units: Sequence[Sequence[str]],
    *,
    top: int,
    errors: bool = True,
    **stated: Any,
) -> ScoreEnds:
    """Return the ends that a tally has kept.

    Args:
        tally: What was kept of the scores.
        queries: Ids of the queries, Q.
        examples: Ids of all training examples, N.
        units: Units of all training examples, N.
        top: K.
        errors: Whether the scores without each group of draws were added too.
        stated: What `Scores` and `ScoreEnds` both state: method, estimand, sign, combine and draws.
    """
    largest, smallest, of_units = tally.errors() if errors else (None, None, None)
    both = largest if smallest is None or largest is None else torch.cat([largest, smallest.flip(1)], 1)
    signed, tables = stated["sign"] != "unsigned", []
    for q, query in enumerate(queries):
        ranks, scores, positions, kept = _ranked(tally, q, len(examples))
        places = positions.tolist()
        error = None if both is None else both[q].float().double().numpy()[kept]
        tables.append(
            rows_of(query, ranks + 1, [examples[n] for n in places], [units[n] for n in places], scores, error, signed)
        )
    return ScoreEnds(
        table=pa.concat_tables(tables),
        queries=tuple(queries),
        examples=len(examples),
        count=top,
        units=_unit_scores(tally, queries, of_units, stated),
        unit_sizes=() if tally.membership is None else tuple(tally.membership.sizes),
        **stated,
    )


def _ranked(tally: Tally, q: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ranks from 0, scores and positions of what was kept for a query, each once; and which entries they are.

    Entries are the largest scores and then the smallest ones, outermost last.
    """
    values, positions, below = tally.largest.values[q], tally.largest.positions[q], 0
    first = len(values)
    if tally.smallest is not None:
        below = int((tally.smallest.values[q].float() < 0).sum())
        values = torch.cat([values, tally.smallest.values[q].flip(0)])
        positions = torch.cat([positions, tally.smallest.positions[q].flip(0)])
    ranks = end_ranks(count, first, below)
    kept = np.concatenate([np.arange(first), np.arange(len(values) - len(ranks) + first, len(values))])
    scores = values.float().double().numpy()[kept] + 0.0  # + 0.0: there is no -0
    return ranks, scores, positions.numpy()[kept], kept


def _unit_scores(tally: Tally, queries: Sequence[str], errors: Tensor | None, stated: dict[str, Any]) -> Scores | None:
    """Return the scores of all units; None where each example is a unit by itself."""
    totals, membership = tally.sums or tally.most, tally.membership
    if totals is None or membership is None:
        return None
    names, estimand = membership.names, replace(stated["estimand"], units="unit")
    return Scores(
        scores=totals.values.float(),
        queries=tuple(queries),
        examples=names,
        units=OwnUnits(names),
        standard_error=None if errors is None else errors.float(),
        **stated | {"estimand": estimand},
    )
