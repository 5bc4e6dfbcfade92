"""Warnings about tuning: a setting that was chosen on the reported subsets or queries makes figures too good.

The manifest of scores may say on what a setting was chosen: ``tuned_on``, a mapping with ``pool``, the name of a pool
or a list of names, and ``queries``, which is ``reported``, ``development`` or ``all``, or a list of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from whence.evaluation.query_kinds import Use
from whence.scores.stored import StoredScores

#: The pool on which settings are chosen.
DEVELOPMENT = "development"


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
