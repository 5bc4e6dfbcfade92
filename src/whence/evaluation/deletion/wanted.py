"""What is removed for which query, and at random beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from whence import artefacts
from whence.errors import ConfigError, DataError
from whence.evaluation.bank import Bank, Retraining
from whence.evaluation.bank.subsets import matched
from whence.evaluation.ranking.top import top_columns
from whence.scores.scores import Scores
from whence.seeds import derived_seed

#: Method of a random removal that stands where a method's would.
RANDOM = "random"


@dataclass(frozen=True, eq=False)
class Wanted:
    """The removals whose effect is wanted: k examples for each of Q' queries, and as many at random.

    Attributes:
        method: Who named the examples that are removed.
        queries: Rows of the queries among those of the bank, Q'.
        removed: Rows of the training examples that the method names for each, best first, int64 [Q', k].
        random: Random rows of the same classes, ascending, int64 [Q', k].
        seeds: The K training seeds, the same for all removals.
        scores: Digest of the scores that name the examples.
    """

    method: str
    queries: tuple[int, ...]
    removed: np.ndarray
    random: np.ndarray
    seeds: tuple[int, ...]
    scores: str

    @classmethod
    def of(cls, bank: Bank, scores: Scores, *, top: str | int = "5%", count: int = 20, seeds: int = 2) -> Wanted:
        """Return what is removed: for each query the examples of the largest scores.

        Args:
            bank: The bank.
            scores: In the order of the bank (`Bank.require`), so that their examples are its examples.
            top: How many, or which share of the training examples, as in ``5%``.
            count: Queries, none of them a development query.
            seeds: Training seeds, K.

        Raises:
            ConfigError: `top`, `count` or `seeds` is impossible.
            DataError: The scores are of none of the queries, or of other examples.
        """
        if scores.examples != bank.examples:
            raise DataError(f"These scores by {scores.method} are not of the examples of {bank.path} in its order.")
        if seeds < 1:
            raise ConfigError(f"Models are retrained with at least one seed; given {seeds}.")
        place = {name: row for row, name in enumerate(scores.queries)}
        queries = tuple(q for q in chosen_queries(bank, count) if bank.queries[q] in place)
        if not queries:
            raise DataError(
                f"These scores by {scores.method} are of none of the {count} queries of {bank.path} whose examples are "
                "removed. Attribute all queries of the bank."
            )
        removed = removed_rows(bank, scores, queries, top_count(top, len(bank.examples)))
        training = tuple(derived_seed(_seed(bank), f"deletion {k}") for k in range(seeds))
        random = _random(bank, queries, removed, "deletion")
        values = artefacts.digest(scores.scores.float().numpy().tobytes())
        return cls(scores.method, queries, removed, random, training, values)

    def zero(self, bank: Bank) -> Wanted:
        """Return random removals in the place of the method's, of the same classes and beside the same random ones.

        Whatever they seem to do beyond these is chance: the honest zero.
        """
        return replace(self, method=RANDOM, removed=_random(bank, self.queries, self.removed, "deletion, zero"))

    def runs(self, bank: Bank) -> list[Retraining]:
        """Return the models that are trained: for each query and seed without the named and without the random ones.

        Their names stand for what they see and the seed, so that what two methods share is trained once.
        """
        found = []
        for rows in np.stack([self.removed, self.random], axis=1).reshape(-1, self.removed.shape[1]):
            kept = np.setdiff1d(np.arange(len(bank.examples)), rows).tolist()
            found += [Retraining(artefacts.digest([kept, seed])[:16], tuple(kept), seed) for seed in self.seeds]
        return found


def chosen_queries(bank: Bank, count: int) -> tuple[int, ...]:
    """Return the rows of the queries on which deletion is measured: half held out, half drawn, none for development.

    They are the first of each kind in the bank; where there are fewer of one kind, more are of the other. So they
    depend on the bank alone, not on a method.

    Raises:
        ConfigError: The bank has fewer.
    """
    held_out, drawn = (np.flatnonzero(~bank.development & (bank.drawn == kind)).tolist() for kind in (False, True))
    most = len(held_out) + len(drawn)
    if not 1 <= count <= most:
        raise ConfigError(
            f"Examples are removed for 1 to {most} queries of the bank {bank.path}, those that are not for "
            f"development; given {count}."
        )
    of_drawn = min(max(count // 2, count - len(held_out)), len(drawn))
    return (*held_out[: count - of_drawn], *drawn[:of_drawn])


def removed_rows(bank: Bank, scores: Scores, queries: tuple[int, ...], top: int) -> np.ndarray:
    """Return the rows of the `top` examples of the largest scores for each query, best first, int64 [Q', top]."""
    lines = [scores.queries.index(bank.queries[q]) for q in queries]
    return top_columns(scores.scores.double().numpy()[lines], top)


def top_count(top: str | int, examples: int) -> int:
    """Return how many of the training examples are removed.

    Args:
        top: A number, or a share in per cent such as ``5%``, which is rounded to whole examples.
        examples: Training examples, N.

    Raises:
        ConfigError: It is neither, or leaves nothing to remove or to keep.

    Example:
        >>> top_count("5%", 500), top_count("40", 500), top_count(3, 500)
        (25, 40, 3)
    """
    match = re.fullmatch(r"(?:([0-9]{1,9})|([0-9]{1,3}(?:\.[0-9]{1,9})?)%)", str(top).strip())
    if not match:
        raise ConfigError(f"The top is a number of examples, or a share of them like 5%; given {top!r}.")
    found = int(match[1]) if match[1] else round(float(match[2]) / 100 * examples)
    if not 1 <= found < examples:
        raise ConfigError(f"The top {top} of {examples:,} examples leaves nothing to remove or nothing to keep.")
    return found


def _random(bank: Bank, queries: tuple[int, ...], removed: np.ndarray, stream: str) -> np.ndarray:
    """Random removals of the same classes; for the same classes two methods have the same one."""
    pairs = zip(queries, removed, strict=True)
    return np.stack([matched(bank.classes, rows, _seed(bank), f"{stream} {bank.queries[q]}") for q, rows in pairs])


def _seed(bank: Bank) -> int:
    return int(bank.manifest.made["seed"])
