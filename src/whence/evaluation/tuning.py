"""Was a knob chosen on what is reported? Then the figure is the best of several tries, not what the method does.

Scores may say on what a knob of theirs was chosen: ``tuned_on`` in the settings of their manifest, a mapping with
``pool``, the name of a pool or a list of names, and ``queries``, which is ``reported``, ``development`` or ``all``, or
a list of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from whence.evaluation.asked import Use
from whence.scores.stored import StoredScores

#: The pool on which knobs are chosen.
DEVELOPMENT = "development"


def tuning_notes(given: Sequence[StoredScores], pool: str, use: Use, queries: Collection[str]) -> list[str]:
    """Return what makes figures on a pool and its queries better than they should be, a line each.

    Args:
        given: The scores that are evaluated.
        pool: Name of the pool.
        use: What the queries are for.
        queries: Ids of the queries.

    Returns:
        The warnings; none where nothing is known to be wrong.
    """
    notes = []
    if pool == DEVELOPMENT or use is Use.DEVELOPMENT:
        notes.append(
            "These subsets or queries are for choosing knobs. Report figures of the pool test and --use reported."
        )
    if pool == DEVELOPMENT and use is Use.DEVELOPMENT:
        return notes
    for one in given:
        shared = _shared(one.manifest.made.get("tuned_on") or {}, pool, use, set(queries))
        notes += [f"{one.name}: a knob was chosen on the same {what}, so its figures are too good." for what in shared]
    for method in dict.fromkeys(one.scores.method for one in given):
        several = [one for one in given if one.scores.method == method and set(one.scores.queries) & set(queries)]
        if len({_knobs(one) for one in several}) > 1:
            notes.append(
                f"{', '.join(one.name for one in several)} are {method} with different settings. Don't report the best "
                f"of them: choose it with --pool {DEVELOPMENT} --use {Use.DEVELOPMENT}, and report that one."
            )
    return notes


def _knobs(given: StoredScores) -> str:
    """The settings of scores that could be chosen by looking at figures; draws only cost time."""
    settings = given.manifest.made.get("config", {})
    return str(sorted((name, str(value)) for name, value in settings.items() if name != "draws"))


def _shared(tuned: Mapping[str, Any], pool: str, use: Use, queries: set[str]) -> list[str]:
    """What the choice of a knob and the figures share."""
    pools, chosen = tuned.get("pool", []), tuned.get("queries", [])
    shared = []
    if pool in ([pools] if isinstance(pools, str) else pools):
        shared.append("pool of subsets")
    if chosen in (str(use), "all") if isinstance(chosen, str) else queries.intersection(chosen):
        shared.append("queries")
    return shared
