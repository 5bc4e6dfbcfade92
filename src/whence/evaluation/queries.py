"""The queries of a bank: how each came to be, what it may be used for, and warnings where figures are too good.

Figures are too good on subsets or queries on which a setting was chosen. The manifest of scores may say which these
are: ``tuned_on``, a mapping with ``pool``, the name of a pool or a list of names, and ``queries``, which is
``reported``, ``development`` or ``all``, or a list of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from whence.scores.stored import StoredScores

if TYPE_CHECKING:
    from whence.evaluation.bank.bank import Bank

#: The pool on which settings are chosen.
DEVELOPMENT = "development"


class Kind(StrEnum):
    """How a query came to be."""

    HELD_OUT = "held-out"
    DRAWN = "drawn"


class Use(StrEnum):
    """What a query may be used for: for figures that are reported, or to choose settings."""

    REPORTED = "reported"
    DEVELOPMENT = "development"


def query_mask(drawn: np.ndarray, development: np.ndarray, kind: Kind, use: Use) -> np.ndarray:
    """Return which queries are of a kind and for a use, bool [Q].

    Args:
        drawn: Whether the model drew the query, bool [Q].
        development: Whether the query is for choosing settings, bool [Q].
        kind: Held out or drawn.
        use: Reported or development.

    Example:
        >>> drawn, development = np.array([False, False, True, True]), np.array([True, False, True, False])
        >>> query_mask(drawn, development, Kind.DRAWN, Use.REPORTED).tolist()
        [False, False, False, True]
    """
    mask: np.ndarray = (drawn == (kind is Kind.DRAWN)) & (development == (use is Use.DEVELOPMENT))
    return mask


def query_places(bank: Bank, *kinds: Kind, use: Use = Use.REPORTED) -> np.ndarray:
    """Return the places of a bank's queries of some kinds, by default all, and for a use, int [Q]."""
    masks = [query_mask(bank.drawn, bank.development, kind, use) for kind in kinds or Kind]
    return np.flatnonzero(np.logical_or.reduce(masks))


def tuning_notes(stored: Sequence[StoredScores], pool: str, use: Use, queries: Collection[str]) -> list[str]:
    """Return a warning for each reason why figures on a pool and its queries are too good.

    Args:
        stored: The scores that are evaluated.
        pool: Name of the pool.
        use: What the queries are for.
        queries: Ids of the queries.
    """
    notes = []
    if pool == DEVELOPMENT or use is Use.DEVELOPMENT:
        notes.append(
            "These subsets or queries are for choosing knobs. Report figures of the pool test and --use reported."
        )
    if pool == DEVELOPMENT and use is Use.DEVELOPMENT:
        return notes
    for scores in stored:
        shared = _shared(scores.manifest.made.get("tuned_on") or {}, pool, use, set(queries))
        notes += [
            f"{scores.name}: a knob was chosen on the same {noun}, so its figures are too good." for noun in shared
        ]
    for method in dict.fromkeys(scores.scores.method for scores in stored):
        variants = [s for s in stored if s.scores.method == method and set(s.scores.queries) & set(queries)]
        if len({_tunable_settings(scores) for scores in variants}) > 1:
            notes.append(
                f"{', '.join(scores.name for scores in variants)} are {method} with different settings. Don't report "
                f"the best of them: choose it with --pool {DEVELOPMENT} --use {Use.DEVELOPMENT}, and report that one."
            )
    return notes


def _tunable_settings(scores: StoredScores) -> str:
    """The settings that could be chosen by looking at figures; the number of draws is not one."""
    settings = scores.manifest.made.get("config", {})
    return str(sorted((name, str(value)) for name, value in settings.items() if name != "draws"))


def _shared(tuned: Mapping[str, Any], pool: str, use: Use, queries: set[str]) -> list[str]:
    """What the choice of a setting and the figures share: subsets, queries, or both."""
    pools, chosen = tuned.get("pool", []), tuned.get("queries", [])
    shared = []
    if pool in ([pools] if isinstance(pools, str) else pools):
        shared.append("pool of subsets")
    if chosen in (str(use), "all") if isinstance(chosen, str) else queries.intersection(chosen):
        shared.append("queries")
    return shared
