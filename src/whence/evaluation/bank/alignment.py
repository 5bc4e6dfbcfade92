"""Scores in the order of a bank, after a check that they are of its model, data and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch

from whence import artefacts
from whence.artefacts import Manifest
from whence.diffusion.augmentation import Augmentation
from whence.errors import DataError, MismatchError
from whence.evaluation.queries import Kind, Use, query_places
from whence.scores.scores import Scores
from whence.scores.stored import StoredScores

if TYPE_CHECKING:
    from whence.evaluation.bank.bank import Bank

#: Expected fingerprints in a message, at most.
SHOWN = 4
KINDS = tuple(Kind)


def with_means(fingerprints: Sequence[str]) -> tuple[str, ...]:
    """Return the fingerprints of models, and then those of the means over several of them."""
    means = [list(some) for count in range(2, len(fingerprints) + 1) for some in combinations(fingerprints, count)]
    return (*fingerprints, *map(artefacts.digest, means))


def data_fingerprints(bank: Bank) -> tuple[str, ...]:
    """Return the fingerprints of a bank's training examples as scores may be of them: at the mean of latents or not."""
    own = Augmentation.of(bank.config.training)
    augmentations = [replace(own, sampled=sampled) for sampled in {own.sampled, bank.encoders.codec.has_deviation}]
    return tuple(bank.encoders.encode(bank.data, bank.parts.get("encoding"), one).fingerprint for one in augmentations)


def require_match(method: str, manifest: Manifest, fingerprints: Mapping[str, Sequence[str]], way_out: str) -> None:
    """Raise MismatchError, with the `way_out`, unless scores have one of a bank's fingerprints for each role."""
    for role, expected in fingerprints.items():
        stated = manifest.inputs.get(role)
        if stated not in expected:
            shown = ", ".join(print_[:12] for print_ in expected[:SHOWN]) + (" ..." if len(expected) > SHOWN else "")
            raise MismatchError(
                f"These scores by {method} are of other {role} than the bank: fingerprint {str(stated)[:12]}, the bank "
                f"has {shown}. {way_out}"
            )


def reorder(scores: Scores, queries: tuple[str, ...], examples: tuple[str, ...]) -> Scores:
    """Return scores in another order of queries and examples, by id; raise MismatchError if the examples are others."""
    if set(scores.examples) != set(examples):
        raise MismatchError(
            f"These scores by {scores.method} are of {len(scores.examples):,} {scores.estimand.units}s, such as "
            f"{scores.examples[0]!r}; the bank has {len(examples):,} examples, such as {examples[0]!r}. Give scores of "
            "all examples, not of units."
        )
    rows = {name: q for q, name in enumerate(scores.queries)}
    columns = {name: n for n, name in enumerate(scores.examples)}
    queries = tuple(name for name in queries if name in rows)
    row, column = torch.tensor([rows[name] for name in queries]), torch.tensor([columns[name] for name in examples])

    def select(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[..., row, :][..., column]

    return replace(
        scores,
        scores=scores.scores[row][:, column],
        queries=queries,
        examples=examples,
        units=tuple(scores.units[n] for n in column.tolist()),
        standard_error=select(scores.standard_error),
        deviations=select(scores.deviations),
    )


@dataclass(frozen=True, eq=False)
class AlignedScores:
    """Scores of the same queries by several methods, in the order of a bank.

    Attributes:
        columns: Places of the queries among those of the bank, int [Q].
        queries: Ids of the queries, Q.
        methods: Scores float64 [Q, N] by name of the method.
    """

    columns: np.ndarray
    queries: tuple[str, ...]
    methods: Mapping[str, np.ndarray]


def align_scores(
    bank: Bank, stored: Sequence[StoredScores], kinds: Sequence[Kind] = KINDS, use: Use = Use.REPORTED
) -> dict[Kind, AlignedScores]:
    """Return the scores of each kind of query by the methods that have any, on the queries that all of these have.

    Kinds without queries are left out.

    Raises:
        MismatchError: Scores are of another model, other data or other queries than the bank.
        DataError: There are no scores of any kind.
    """
    methods = {scores.name: bank.require(scores.scores, scores.manifest) for scores in stored}
    aligned = {}
    for kind in kinds:
        places = query_places(bank, kind, use=use)
        names = {bank.queries[q] for q in places}
        scored = {name: scores for name, scores in methods.items() if names.intersection(scores.queries)}
        columns = np.array([q for q in places if all(bank.queries[q] in s.queries for s in scored.values())], int)
        queries = tuple(bank.queries[q] for q in columns)
        if scored and queries:
            rows = {
                name: scores.scores[[scores.queries.index(q) for q in queries]].double().numpy()
                for name, scores in scored.items()
            }
            aligned[kind] = AlignedScores(columns, queries, rows)
    if not aligned:
        raise DataError(
            f"No {' or '.join(kinds)} query for {use} figures has scores by all methods. Attribute the bank's queries: "
            f"{bank.attribution} --out scores/"
        )
    return aligned
