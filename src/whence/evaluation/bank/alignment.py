"""Aligning scores with a bank: a check that they are of its model, data and queries, and its order of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch

from whence import artefacts
from whence.artefacts import Manifest
from whence.errors import MismatchError
from whence.scores.scores import Scores

#: Expected fingerprints in a message, at most.
SHOWN = 4


def with_means(fingerprints: Sequence[str]) -> tuple[str, ...]:
    """Return the fingerprints of models, and then those of the means over several of them.

    Example:
        >>> len(with_means(["a", "b", "c"]))
        7
    """
    means = [list(some) for count in range(2, len(fingerprints) + 1) for some in combinations(fingerprints, count)]
    return (*fingerprints, *map(artefacts.digest, means))


def require_match(method: str, manifest: Manifest, fingerprints: Mapping[str, Sequence[str]], way_out: str) -> None:
    """Check that scores were made from a bank's model, data and queries.

    Args:
        method: Name of the method, for messages.
        manifest: Of the scores.
        fingerprints: Fingerprints of the bank, by role: model, data, queries. The scores need one of each.
        way_out: What to do otherwise.

    Raises:
        MismatchError: They are of something else; the fingerprints of both are named.
    """
    for role, expected in fingerprints.items():
        stated = manifest.inputs.get(role)
        if stated not in expected:
            shown = ", ".join(print_[:12] for print_ in expected[:SHOWN]) + (" ..." if len(expected) > SHOWN else "")
            raise MismatchError(
                f"These scores by {method} are of other {role} than the bank: fingerprint {str(stated)[:12]}, the bank "
                f"has {shown}. {way_out}"
            )


def reorder(scores: Scores, queries: tuple[str, ...], examples: tuple[str, ...]) -> Scores:
    """Return scores in another order of queries and examples.

    Args:
        scores: The scores.
        queries: Ids of queries in the new order; queries without scores are left out.
        examples: Ids of all examples in the new order.

    Raises:
        MismatchError: The scores are of other examples, or of units.
    """
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

    return Scores(
        scores=scores.scores[row][:, column],
        queries=queries,
        examples=examples,
        units=tuple(scores.units[n] for n in column.tolist()),
        method=scores.method,
        estimand=scores.estimand,
        sign=scores.sign,
        combine=scores.combine,
        standard_error=select(scores.standard_error),
        draws=scores.draws,
        deviations=select(scores.deviations),
    )
