"""Removals: which examples are removed for which query, and which random ones for comparison."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from whence import artefacts
from whence.errors import ConfigError, DataError
from whence.evaluation.bank import Bank
from whence.retraining.retrain import Retraining
from whence.retraining.subsets import matched_removal
from whence.scores.scores import Scores
from whence.seeds import derived_seed
from whence.statistics.ranks import top_columns

#: Method of a random removal in the place of a method's removal.
RANDOM = "random"


@dataclass(frozen=True, eq=False)
class Removal:
    """The examples that are removed: for each of Q' queries the k that a method names, and k random ones.

    Attributes:
        method: The method that names the examples.
        queries: Rows of the queries among those of the bank, Q'.
        removed: Rows of the training examples that the method names for each query, best first, int64 [Q', k].
        random: Random rows of the same classes, ascending, int64 [Q', k].
        seeds: The K training seeds, the same for all models.
        scores: Digest of the scores that name the examples.
    """

    method: str
    queries: tuple[int, ...]
    removed: np.ndarray
    random: np.ndarray
    seeds: tuple[int, ...]
    scores: str

    @classmethod
    def of(cls, bank: Bank, scores: Scores, *, top: str | int = "5%", count: int = 20, seeds: int = 2) -> Removal:
        """Return the removal of the examples with the largest scores for each query, with K training seeds.

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
        queries = tuple(q for q in deletion_queries(bank, count) if bank.queries[q] in set(scores.queries))
        if not queries:
            raise DataError(
                f"These scores by {scores.method} are of none of the {count} queries of {bank.path} whose examples are "
                "removed. Attribute all queries of the bank."
            )
        removed = removed_rows(bank, scores, queries, top_count(top, len(bank.examples)))
        training_seeds = tuple(derived_seed(_seed(bank), f"deletion {k}") for k in range(seeds))
        random = _random_rows(bank, queries, removed, "deletion")
        digest = artefacts.digest(scores.scores.float().numpy().tobytes())
        return cls(scores.method, queries, removed, random, training_seeds, digest)

    def random_baseline(self, bank: Bank) -> Removal:
        """Return the removal of other random examples in the place of the named ones, of the same classes.

        It is compared with the same random examples. Whatever it seems to do beyond them is chance.
        """
        removed = _random_rows(bank, self.queries, self.removed, "deletion, zero")
        return replace(self, method=RANDOM, removed=removed)

    def retrainings(self, bank: Bank) -> list[Retraining]:
        """Return the models to train: for each query and seed one without the named examples, and one without random.

        A model's name is a digest of its examples and its seed, so a model that two methods need is trained once.
        """
        retrainings = []
        for removed in np.stack([self.removed, self.random], axis=1).reshape(-1, self.removed.shape[1]):
            rows = np.setdiff1d(np.arange(len(bank.examples)), removed)
            names = [artefacts.digest([rows.tolist(), seed])[:16] for seed in self.seeds]
            retrainings += [bank.retraining(name, rows, seed) for name, seed in zip(names, self.seeds, strict=True)]
        return retrainings


def deletion_queries(bank: Bank, count: int) -> tuple[int, ...]:
    """Return the first queries of the bank, half of them held out, half drawn, none for development; their rows.

    Where there are too few of one kind, more are of the other. So they depend on the bank alone, not on a method.

    Raises:
        ConfigError: The bank has fewer queries.
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
    """Return the rows of the `top` examples with the largest scores for each query, best first, int64 [Q', top]."""
    lines = [scores.queries.index(bank.queries[q]) for q in queries]
    return top_columns(scores.scores.double().numpy()[lines], top)


def top_count(top: str | int, examples: int) -> int:
    """Return how many training examples a number, or a share in per cent such as ``5%``, is.

    Raises:
        ConfigError: It is neither, or leaves nothing to remove or to keep.

    Example:
        >>> top_count("5%", 500), top_count("40", 500), top_count(3, 500)
        (25, 40, 3)
    """
    match = re.fullmatch(r"(?:([0-9]{1,9})|([0-9]{1,3}(?:\.[0-9]{1,9})?)%)", str(top).strip())
    if not match:
        raise ConfigError(f"The top is a number of examples, or a share of them like 5%; given {top!r}.")
    count = int(match[1]) if match[1] else round(float(match[2]) / 100 * examples)
    if not 1 <= count < examples:
        raise ConfigError(f"The top {top} of {examples:,} examples leaves nothing to remove or nothing to keep.")
    return count


def _random_rows(bank: Bank, queries: tuple[int, ...], removed: np.ndarray, stream: str) -> np.ndarray:
    """Random rows of the same classes for each query; they depend on the classes alone, not on the method."""
    streams = [f"{stream} {bank.queries[q]}" for q in queries]
    pairs = zip(removed, streams, strict=True)
    return np.stack([matched_removal(bank.classes, rows, _seed(bank), name) for rows, name in pairs])


def _seed(bank: Bank) -> int:
    return int(bank.manifest.made["seed"])
