"""Whether scores are of a bank's model, data and queries, and the scores in the bank's order."""

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
    """Return the fingerprints of models and of the means over several of them, in their order; the models come first.

    Example:
        >>> len(with_means(["a", "b", "c"]))
        7
    """
    means = [list(some) for count in range(2, len(fingerprints) + 1) for some in combinations(fingerprints, count)]
    return (*fingerprints, *map(artefacts.digest, means))


def require_match(method: str, manifest: Manifest, known: Mapping[str, Sequence[str]], way_out: str) -> None:
    """Check that scores were made from what is known.

    Args:
        method: Name of the method, for messages.
        manifest: Of the scores.
        known: Fingerprints of which one is expected, by role: model, data, queries.
        way_out: What to do otherwise.

    Raises:
        MismatchError: They are of something else; the fingerprints of both are named.
    """
    for role, expected in known.items():
        given = manifest.inputs.get(role)
        if given not in expected:
            shown = ", ".join(one[:12] for one in expected[:SHOWN]) + (" ..." if len(expected) > SHOWN else "")
            raise MismatchError(
                f"These scores by {method} are of other {role} than the bank: fingerprint {str(given)[:12]}, the bank "
                f"has {shown}. {way_out}"
            )


def reordered(scores: Scores, queries: tuple[str, ...], examples: tuple[str, ...]) -> Scores:
    """Return scores with examples in a given order, and those of the queries that there are in a given order.

    Args:
        scores: The scores.
        queries: Ids of queries; those without scores are left out.
        examples: Ids of all examples.

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
    there = tuple(name for name in queries if name in rows)
    row, column = torch.tensor([rows[name] for name in there]), torch.tensor([columns[name] for name in examples])

    def of(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[..., row, :][..., column]

    return Scores(
        scores=scores.scores[row][:, column],
        queries=there,
        examples=examples,
        units=tuple(scores.units[n] for n in column.tolist()),
        method=scores.method,
        estimand=scores.estimand,
        sign=scores.sign,
        combine=scores.combine,
        standard_error=of(scores.standard_error),
        draws=scores.draws,
        deviations=of(scores.deviations),
    )
