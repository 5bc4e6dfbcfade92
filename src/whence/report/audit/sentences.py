"""What audits found, in plain words: the rate of mistakes first, no accusation, and never that something was absent."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from whence.audit.membership import MembershipAudit, PlaceboChances
from whence.audit.membership_test import MembershipTest
from whence.audit.memorisation import MemorisationAudit
from whence.report.text import percent
from whence.statistics.statistic import Statistic

#: Pictures that are named in a sentence.
NAMED = 10
#: What can look like memory, after every answer that is not "cannot be told".
OTHER_REASONS = (
    "Training on a picture does that. But a picture that is easier than the controls, or a near copy of a training "
    "picture, looks the same. This is no proof about any person, and no accusation."
)
#: What can't be told means.
CANNOT = "It cannot be told. The pictures may or may not have been in the training data."


def membership_sentences(audit: MembershipAudit, level: float) -> list[str]:
    """Return the answer of an audit of membership; the first sentence is about mistakes."""
    test, placebos = audit.test(level), audit.placebos
    sentences = [] if test is None else [*_against_controls(audit, test)]
    if placebos is not None:
        sentences += _against_placebos(placebos, len(audit.pictures["id"]), level)
    return [*sentences, *audit.notes]


def _against_controls(audit: MembershipAudit, test: MembershipTest) -> Iterator[str]:
    count, checked = len(test.statistics), len(test.second)
    yield (
        f"At most {percent(test.level)} of pictures that the model never saw should be named here by mistake; of "
        f"{checked:,} that were held back to check this, {rate(test.alarms)} were named."
    )
    if not test.can_tell:
        yield f"{_reason(test)} {CANNOT}"
        return
    found = [name for name, alarm in zip(audit.pictures["id"], test.found, strict=True) if alarm]
    names = f": {', '.join(found[:NAMED])}{' ...' if len(found) > NAMED else ''}" if found else ""
    expected = f"By mistake alone, {count * test.level:.3g} of {count:,} would be."
    yield (
        f"One by one: the model fits {len(found):,} of {count:,} pictures so well that they are named{names}. "
        + expected
    )
    if found:
        yield OTHER_REASONS
    else:
        yield CANNOT
    if count > 1:
        yield _together(test, count)


def _together(test: MembershipTest, count: int) -> str:
    """The sentence about all pictures together."""
    alarms = test.group_alarms
    start = (
        f"All {count:,} together: as many pictures that the model never saw fit it as well with a chance of "
        f"{percent(test.together)}."
    )
    if alarms is None:
        return f"{start} There are too few controls to check how often that is a mistake. {CANNOT}"
    checked = f"Of groups of {count:,} controls, {rate(alarms)} were named by mistake."
    if not test.can_tell_together or test.together > test.level:
        return f"{start} {checked} {CANNOT}"
    return f"{start} {checked} The model fits them better than pictures that it never saw. {OTHER_REASONS}"


def _reason(test: MembershipTest) -> str:
    """Why nothing can be told from these controls."""
    if 1 / (1 + len(test.first)) > test.level:
        have = len(test.first) + len(test.second)
        return f"There are {have:,} controls; so few mistakes take {test.needed:,} or more."
    return "More controls were named by mistake than should be, so the two halves of the controls are not alike."


def _against_placebos(placebos: PlaceboChances, count: int, level: float) -> list[str]:
    """The sentences about code words of nobody."""
    start = (
        f"Compared with code words of nobody, at most {percent(level)} of pictures are named by mistake for which no "
        "unit of the training data matters. Pictures that are only like training pictures may be named too."
    )
    if placebos.smallest > level:
        return [
            f"{start} But with so many units and members no chance is below {percent(placebos.smallest)}. It takes "
            f"more members, or larger units. {CANNOT}"
        ]
    found = int((placebos.each <= level).sum())
    named = f"{found:,} of {count:,} pictures are named one by one."
    if count > 1:
        named += f" All together, as pictures of one unit, have a chance of {percent(placebos.together)}."
    if not found and placebos.together > level:
        return [f"{start} {named} {CANNOT}"]
    return [
        f"{start} {named} Members that saw some unit fit them better than members that did not, so pictures like these "
        "are in the training data: these very ones, others by the same hand, or others that are alike. Only controls "
        "can tell more. This is no accusation."
    ]


def memorisation_sentences(audit: MemorisationAudit) -> list[str]:
    """Return the answer of an audit of memorisation; the first sentence is about mistakes."""
    count, hits = len(audit.drawn["id"]), audit.hits
    if audit.mistakes is not None:
        mistakes = (
            f"A drawn picture is called a copy if it is closer to one training picture than {audit.chosen_by}; of "
            f"pictures like these, at most {percent(audit.mistakes)} are called so by mistake."
        )
    else:
        mistakes = (
            f"A drawn picture is called a copy if its closeness is below {audit.threshold:.3g}, which was stated; how "
            "often that is a mistake is not known."
        )
    sentences = [mistakes, f"Of {count:,} drawn pictures, {rate(audit.rate)} are copies."]
    if hits:
        repeated = sum(hit.copies > 1 for hit in hits)
        sentences.append(
            f"They give back {audit.images:,} of {audit.clusters:,} training pictures, near-duplicates counted once; "
            f"{repeated:,} of the copies are of a picture that is in the data more than once."
        )
    else:
        sentences.append("That none was found does not show that the model gives back no training picture.")
    known = [hit for hit in hits if not math.isnan(hit.without)]
    if known:
        gone = sum(hit.without > np.nanmax([hit.before, hit.placebo]) for hit in known)
        sentences.append(
            f"{len(known):,} of the copies were drawn again by members that never saw the picture: {gone:,} of them "
            "are then farther from it than before, and than what as many other members draw."
        )
    return sentences


def rate(share: Statistic) -> str:
    """Return a share with its interval in words.

    Example:
        >>> import numpy as np
        >>> from whence.statistics.statistic import share
        >>> rate(share(np.arange(100) < 1))
        '1.0% (95% interval less than 0.1% to 5.4%)'
    """
    interval = share.interval
    return f"{percent(share.value)} (95% interval {percent(interval.low)} to {percent(interval.high)})"
