"""Scores as a long table, one row for each query and example: for spreadsheets, databases and other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from whence.errors import ConfigError
from whence.scores.arrays import ScoreArrays
from whence.scores.jackknife import interval_factor

if TYPE_CHECKING:
    from whence.scores.ends import ScoreEnds
    from whence.scores.scores import Scores

    #: What a table can be made of.
    TableSource: TypeAlias = Scores | ScoreArrays | ScoreEnds

#: Rows that are held at a time.
ROWS = 2**17

SCHEMA = pa.schema(
    {
        "query": pa.string(),
        "rank": pa.int64(),
        "example": pa.string(),
        "units": pa.list_(pa.string()),
        "score": pa.float64(),
        "standard_error": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "opponent": pa.bool_(),
    }
)


def to_table(scores: TableSource, top: int | None = None) -> pa.Table:
    """Return scores as one table: query, rank, example, units, score, standard_error, low, high, opponent.

    Rank 1 has the largest score of the query; ties by position. From low to high is the 90% interval of one score,
    which covers Monte Carlo error and not retraining noise; it is null, as the error is, where a method has no draws. A
    row is an opponent where the method has a sign and the score is below 0. With `top`, only so many of the largest
    scores of each query and, of a method with a sign, so many of the smallest ones below 0.

    Raises:
        ConfigError: `top` is below 1.

    Example:
        >>> from whence.similarity.attributors import pixel
        >>> from whence.data import load
        >>> digits = load("digits").select(range(9))
        >>> to_table(pixel(digits.images([5]), ["q"], digits), top=1).select(["query", "rank", "score"]).to_pylist()
        [{'query': 'q', 'rank': 1, 'score': 0.0}]
    """
    return pa.concat_tables([SCHEMA.empty_table(), *tables_of(scores, top)])


def to_data_frame(scores: ScoreArrays, top: int | None = None) -> Any:
    """Return the table of scores as a data frame of pandas.

    Raises:
        ConfigError: pandas is not installed, or `top` is below 1.
    """
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise ConfigError("A data frame needs pandas, which is not installed: pip install 'whence[pandas]'.") from None
    return to_table(scores, top).to_pandas()


def tables_of(scores: TableSource, top: int | None) -> Iterator[pa.Table]:
    """Return the table in pieces of about ROWS rows; ConfigError where `top` is below 1, or more than were kept."""
    from whence.scores.ends import ScoreEnds

    if top is not None and top < 1:
        raise ConfigError(f"top is {top}; expected a number of examples from 1, or none for all.")
    if isinstance(scores, ScoreEnds):
        return scores.pieces(top)
    return _pieces(scores if isinstance(scores, ScoreArrays) else ScoreArrays.of(scores), top)


def _pieces(scores: ScoreArrays, top: int | None) -> Iterator[pa.Table]:
    pieces: list[pa.Table] = []
    for q in range(len(scores.queries)):
        pieces.append(_of_query(scores, q, top))
        if sum(map(len, pieces)) >= ROWS:
            yield pa.concat_tables(pieces)
            pieces = []
    if pieces:
        yield pa.concat_tables(pieces)


def _of_query(scores: ScoreArrays, q: int, top: int | None) -> pa.Table:
    row = scores.scores[q].astype(np.float64) + 0.0  # + 0.0: there is no -0
    order = np.argsort(-row, kind="stable")
    ranks = _ranks(row[order], top, scores.signed)
    places = order[ranks]
    error = None if scores.standard_error is None else scores.standard_error[q].astype(np.float64)[places]
    names = [scores.examples[n] for n in places.tolist()], [scores.units[n] for n in places.tolist()]
    return rows_of(scores.queries[q], ranks + 1, *names, row[places], error, scores.signed)


def rows_of(
    query: str,
    ranks: np.ndarray,
    examples: Sequence[str],
    units: Sequence[Sequence[str]],
    scores: np.ndarray,
    error: np.ndarray | None,
    signed: bool,
) -> pa.Table:
    """Return rows of the table: examples of one query with their ranks, units, scores and standard errors."""
    reach = None if error is None else interval_factor() * error
    return pa.table(
        {
            "query": [query] * len(examples),
            "rank": ranks,
            "example": list(examples),
            "units": [list(names) for names in units],
            "score": scores,
            "standard_error": _numbers(error, len(examples)),
            "low": _numbers(None if reach is None else scores - reach, len(examples)),
            "high": _numbers(None if reach is None else scores + reach, len(examples)),
            "opponent": (scores < 0) & signed,
        },
        schema=SCHEMA,
    )


def _ranks(descending: np.ndarray, top: int | None, signed: bool) -> np.ndarray:
    """Which of the scores in descending order are taken, from 0: the first, and of those below 0 the last."""
    count = len(descending)
    if top is None or top >= count:
        return np.arange(count)
    return end_ranks(count, top, int((descending < 0).sum()) if signed else 0)


def end_ranks(count: int, top: int, below: int) -> np.ndarray:
    """Return the places, from 0, of the first of `count` in descending order, and of the last of those below 0.

    Example:
        >>> end_ranks(9, 3, 2).tolist(), end_ranks(4, 3, 4).tolist(), end_ranks(2, 3, 0).tolist()
        ([0, 1, 2, 7, 8], [0, 1, 2, 3], [0, 1])
    """
    top = min(top, count)
    return np.concatenate([np.arange(top), np.arange(max(top, count - min(top, below)), count)])


def _numbers(values: np.ndarray | None, count: int) -> Any:
    return [None] * count if values is None else values
