"""What `whence evaluate landscape` says of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whence.ensemble import Ensemble
    from whence.evaluation.exact.ground_truth import Figures
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic as Statistic

#: Names of the rows of a second ensemble, and of what it says that a perfect ranking would reach.
SECOND, PERFECT = "(second codebook)", "(perfect, about)"


def perfect(agreement: Statistic) -> Statistic:
    """Return about what a ranking without any error of the images would reach: the square root of r.

    Two ensembles share what is about the images and nothing else; if that is a share r of the variance of each, the
    images' own ranking correlates with each at √r.
    """
    from dataclasses import replace

    from whence.evaluation.prediction.ceiling import ceiling
    from whence.statistics.statistic import Statistic as Statistic

    value, low, high = (
        float(ceiling(r, 1)) for r in (agreement.value, agreement.interval.low, agreement.interval.high)
    )
    return Statistic(value, replace(agreement.interval, low=low, high=high), 0.0)


def best(found: Mapping[str, Figures]) -> str:
    """Return in words which method agrees best, and whether that may be chance."""
    from whence.evaluation.exact.ground_truth import CORRELATION

    means = {name: one.measures()[CORRELATION] for name, one in found.items() if CORRELATION in one.measures()}
    order = sorted(means, key=lambda name: -means[name].value)
    if not order or means[order[0]].interval.low <= 0:
        return "No method ranks the units better than a random order, as far as these pictures can tell."
    if len(order) == 1:
        return f"{order[0]} ranks the units better than a random order."
    leads = {name: found[order[0]].ahead_of(found[name]) for name in order[1:]}
    tied = [name for name, lead in leads.items() if lead.interval.low <= 0]
    if tied:
        return (
            f"Which method is closest to the exact losses can't be told: on the same pictures {order[0]} is not ahead "
            f"of {', '.join(tied)} by more than chance."
        )
    lead = leads[order[1]]
    return (
        f"{order[0]} is closest to the exact losses, ahead of {order[1]} by {lead.value:.3f} (95% interval "
        f"{lead.interval.low:.3f} to {lead.interval.high:.3f}, on the same pictures)."
    )


def ceiling(numbers: Mapping[str, Mapping[str, Statistic]]) -> str:
    """Return in words how much of the exact losses is about the images."""
    from whence.evaluation.exact.ground_truth import CORRELATION

    if SECOND not in numbers:
        return (
            "How high these figures can be is not known: exact losses are also about who shares code words with whom. "
            "--second RUN, an ensemble on the same data with another --codebook-seed and --seed, tells."
        )
    if PERFECT not in numbers:
        return "The second ensemble has no order of the units, so the ceiling is not known."
    agreed, reached = (numbers[name][CORRELATION] for name in (SECOND, PERFECT))
    return (
        f"Two codebooks agree at r = {agreed.value:.3f}; the rest of the exact losses is about who shares code words "
        f"with whom. A ranking of the images without any error would reach about the square root of r, "
        f"{reached.value:.2f} ({reached.interval.low:.2f} to {reached.interval.high:.2f})."
    )


def notes(ensemble: Ensemble, given: Sequence[StoredScores]) -> list[str]:
    """Return what must be known of the scores to read the figures."""
    from whence.attribution.target import Target

    own, found = Target.open(ensemble).fingerprint, []
    others = [one.name for one in given if one.manifest.inputs.get("model") != own]
    if others:
        found.append(
            f"Of another model than this ensemble: {', '.join(others)}. They are held against what the ensemble knows "
            "of the same images, not against what leaving them out would do to that model."
        )
    unsigned = [one.name for one in given if one.scores.sign == "unsigned"]
    if unsigned:
        found.append(
            f"Unsigned: {', '.join(unsigned)}. They don't tell units that pulled towards the picture from units that "
            "pushed away from it, which are at opposite ends of the exact losses."
        )
    return found
