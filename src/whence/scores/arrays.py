"""Scores as arrays of numpy: what tables and exports are made of, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whence import artefacts
from whence.errors import WhenceError

if TYPE_CHECKING:
    from whence.scores.scores import Scores


@dataclass(frozen=True, eq=False)
class ScoreArrays:
    """Scores of N training examples for Q queries, as arrays.

    Attributes:
        scores: Scores [Q, N].
        queries: Ids of the queries, Q.
        examples: Ids of the training examples, N.
        units: Units of every example, N.
        method: Name of the method.
        signed: Whether a score below 0 is an opponent.
        standard_error: Standard error of every score [Q, N]; None where a method has no draws.

    Raises:
        WhenceError: As of `Scores`.
    """

    scores: np.ndarray
    queries: tuple[str, ...]
    examples: tuple[str, ...]
    units: Sequence[tuple[str, ...]]
    method: str
    signed: bool
    standard_error: np.ndarray | None = None

    def __post_init__(self) -> None:
        arrays = {"scores": self.scores, "standard_error": self.standard_error}
        require_consistent(arrays, self.queries, self.examples, self.units)

    @classmethod
    def of(cls, scores: Scores) -> ScoreArrays:
        """Return scores as arrays; they are not copied."""
        error = None if scores.standard_error is None else scores.standard_error.numpy()
        signed = scores.sign != "unsigned"
        return cls(scores.scores.numpy(), scores.queries, scores.examples, scores.units, scores.method, signed, error)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> ScoreArrays:
        """Return the scores at `path`, after a check of every file against its hash.

        Raises:
            ArtefactError: They are missing, unfinished or damaged.
        """
        fields = stored_fields(path, artefacts.read_arrays)
        names = ("scores", "queries", "examples", "units", "method", "standard_error")
        return cls(**{name: fields[name] for name in names}, signed=fields["sign"] != "unsigned")


def stored_fields(path: Path, read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of the `Scores` at `path`, checked by hash; `read` reads the file of the tensors.

    Raises:
        ArtefactError: They are missing, unfinished or damaged.
    """
    made = artefacts.read_verified(path, "scores").made
    tensors, examples = read(path / "scores.safetensors"), artefacts.read_table(path / "examples.parquet")
    return {
        "scores": tensors["scores"],
        "queries": tuple(artefacts.read_table(path / "queries.parquet")["id"]),
        "examples": tuple(examples["id"]),
        "units": tuple(tuple(units) for units in examples["units"]),
        "standard_error": tensors.get("standard_error"),
        "deviations": tensors.get("deviations"),
        **{name: made[name] for name in ("method", "estimand", "sign", "combine", "draws")},
    }


def require_consistent(
    arrays: Mapping[str, np.ndarray | None],
    queries: Sequence[str],
    examples: Sequence[str],
    units: Sequence[Sequence[str]],
) -> None:
    """Check that arrays [Q, N] fit Q queries and N examples, whose ids are distinct.

    Raises:
        WhenceError: A shape doesn't fit the ids, ids repeat, or a number is not finite.
    """
    shape = (len(queries), len(examples))
    for name, array in arrays.items():
        if array is None:
            continue
        if array.shape != shape:
            raise WhenceError(f"{name} is {array.shape}; {shape[0]} queries and {shape[1]} examples.")
        if not np.isfinite(array).all():
            q, n = np.argwhere(~np.isfinite(array))[0].tolist()
            raise WhenceError(f"{name} of query {queries[q]!r}, example {examples[n]!r} is not finite.")
    if len(units) != shape[1] or (len(set(queries)), len(set(examples))) != shape:
        raise WhenceError("Scores need distinct query ids, distinct example ids and units for every example.")
