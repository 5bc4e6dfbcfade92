"""Pairs of scores that differ in nothing but their draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whence.artefacts import Manifest
from whence.errors import MismatchError
from whence.evaluation.bank.matching import reordered
from whence.scores.scores import Scores
from whence.scores.stored import StoredScores


def independent_pairs(
    first: Sequence[StoredScores], second: Sequence[StoredScores]
) -> dict[str, tuple[Scores, Scores]]:
    """Return the scores of each method by two independent sets of draws, in the same order of queries and examples.

    Methods are paired by the names of their folders; if there is one on either side, these are a pair. Methods without
    draws are left out: their scores come out the same.

    Raises:
        MismatchError: No method with draws is on both sides, or two scores are of another model, data, queries or
            settings, or have the same seed.
    """
    others = {one.name: one for one in second}
    if len(first) == len(second) == 1:
        others = {first[0].name: second[0]}
    pairs = {one.name: (one, others[one.name]) for one in first if one.name in others and one.scores.draws}
    if not pairs:
        raise MismatchError(
            f"No method with draws is in both: {', '.join(one.name for one in first)} and "
            f"{', '.join(one.name for one in second)}. Attribute twice by the same methods, with another --seed."
        )
    for one, other in pairs.values():
        _require_independent(one, other)
    return {
        name: (one.scores, reordered(other.scores, one.scores.queries, one.scores.examples))
        for name, (one, other) in pairs.items()
    }


def _require_independent(one: StoredScores, other: StoredScores) -> None:
    """Check that two scores are of the same thing by other draws.

    Raises:
        MismatchError: They are not.
    """
    mine, others = _made(one.manifest), _made(other.manifest)
    different = [name for name in {**mine, **others} if mine.get(name) != others.get(name)]
    if different:
        raise MismatchError(
            f"The scores by {one.name} differ in {', '.join(sorted(different))}, not in their draws alone. Attribute "
            "twice with everything the same but --seed and --out."
        )
    seeds = [manifest.made.get("config", {}).get("seed") for manifest in (one.manifest, other.manifest)]
    if seeds[0] == seeds[1]:
        raise MismatchError(
            f"Both scores by {one.name} have the seed {seeds[0]}, so they share draws. Attribute one of them again "
            "with another --seed."
        )


def _made(manifest: Manifest) -> dict[str, Any]:
    """What scores are of and how they were made, but for their draws."""
    made = {name: value for name, value in manifest.made.items() if name not in ("values", "draws", "config")}
    config = {n: value for n, value in manifest.made.get("config", {}).items() if n not in ("seed", "draws")}
    return {**manifest.inputs, **made, **config}
