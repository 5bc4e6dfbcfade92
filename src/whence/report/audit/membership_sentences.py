"""What an audit of membership found, in plain words: mistakes first, no accusation, never that something was absent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whence.audit.membership import MembershipAudit, PlaceboChances
from whence.audit.membership_test import MembershipTest
from whence.report.text import are, percent, plural, probably

#: Pictures that are named in a sentence.
NAMED = 10
#: What can look like memory, after every hint.
OTHER_REASONS = (
    "Having been trained on a picture can cause this. So can a picture that is simpler (flat colour, little detail) "
    "than the comparison pictures, nearly the same as a training picture, or only in the style of training pictures."
)
#: The warning after every hint.
NO_PROOF = "This is no proof about any person, and no accusation."
#: What no answer means.
OPEN = "The pictures may or may not have been in the training data."


def membership_sentences(audit: MembershipAudit, level: float) -> list[str]:
    """Return the answer of an audit of membership: how often the test is wrong, the verdict, and what it rests on.

    The verdict begins with `Hint:` or `No answer:`. It comes first where there are too few comparison pictures.
    """
    test, placebos, ids = audit.test(level), audit.placebos, audit.pictures["id"]
    sentences = [] if test is None else [*_against_controls(ids, test)]
    if placebos is not None:
        sentences += _against_placebos(placebos, len(ids), level) if test is None else _second(placebos, level)
    return [*sentences, *audit.notes]


def _against_controls(ids: Sequence[str], test: MembershipTest) -> Iterator[str]:
    count, left_out = len(ids), f"The answer for all {len(ids):,} together is left out too." if len(ids) > 1 else ""
    if not test.enough:
        have = plural(len(test.first) + len(test.second), "comparison picture")
        yield f"No answer: {have} were given; {test.needed:,} are needed for {_allowed(test.level)}."
        yield f"{OPEN} {left_out}".strip()
        return
    yield _measured(test)
    if not test.can_tell:
        yield f"No answer: that is more than {_allowed(test.level)}, so the comparison pictures are not all alike."
        yield f"{OPEN} {left_out}".strip()
        return
    found = [name for name, alarm in zip(ids, test.found, strict=True) if alarm]
    together = count > 1 and test.can_tell_together and test.together <= test.level
    names = f": {', '.join(found[:NAMED])}{' ...' if len(found) > NAMED else ''}" if found else ""
    yield _verdict(len(found), count, together, names)
    yield _expected(test, count)
    if count > 1:
        yield _together(test, count)
    if found or together:
        yield f"{OTHER_REASONS} {NO_PROOF}"


def _measured(test: MembershipTest) -> str:
    """How often the test was wrong on the pictures that were held back."""
    alarms, checked = test.alarms, len(test.second)
    wrong = round(alarms.value * checked)
    kind, marked = ("is sometimes", f"{wrong:,} ({percent(alarms.value)}; ") if wrong else ("can be", "none (")
    return (
        f"This test {kind} wrong: of {plural(checked, 'picture')} that the model never saw, it wrongly marked "
        f"{marked}{probably(alarms)})."
    )


def _verdict(found: int, count: int, together: bool, names: str = "") -> str:
    if found:
        which = f"{found:,} of {plural(count, 'picture')} {are(found)}" if count > 1 else "the picture is"
        return f"Hint: {which} marked, because the model fits {'them' if found > 1 else 'it'} unusually well{names}."
    if together:
        return f"Hint: no picture is marked on its own, but all {count:,} together fit the model unusually well."
    return f"No answer: {f'none of the {count:,} pictures is' if count > 1 else 'the picture is not'} marked. {OPEN}"


def _expected(test: MembershipTest, count: int) -> str:
    """How many marks mistakes alone would make, by the measured rate and the end of its range."""
    value, most = count * test.alarms.value, count * test.alarms.interval.high
    about = f"about {_tests(value)} would be expected, and " if value else ""
    end = "" if value else " would be expected"
    return f"If the model had seen none of them, {about}probably not more than {_tests(most)}{end}."


def _tests(expected: float) -> str:
    """An expected number of mistakes in a test, as people count: ``1 mistake in 23 such tests``."""
    if expected >= 0.75:
        return f"{plural(round(expected), 'mistake')} in every such test"
    return f"1 mistake in {max(2, round(1 / expected)):,} such tests"


def _together(test: MembershipTest, count: int) -> str:
    """The sentences about all pictures together."""
    alarms, groups = test.group_alarms, len(test.second) // count
    if alarms is None:
        return (
            f"All {count:,} together: no answer, because there are too few comparison pictures for a group of "
            f"{count:,} on which mistakes could be counted."
        )
    start = (
        f"All {count:,} together: a group of {count:,} pictures that the model never saw would do this well "
        f"{_times(test.together)}. We also tried {plural(groups, 'group')} of {count:,} unseen pictures:"
    )
    wrong = round(alarms.value * groups)
    if wrong:
        start += f" {wrong:,} {'was' if wrong == 1 else 'were'} marked by mistake ({probably(alarms)})."
    else:
        start += " none was marked by mistake."
        if alarms.interval.high > test.level:
            start += f" So few groups can't exclude an error of up to {percent(alarms.interval.high)}."
    if not test.can_tell_together:
        return f"{start} That is too often, so there is no answer for them together."
    return start if test.together <= test.level else f"{start} That is too usual to mark them together."


def _against_placebos(placebos: PlaceboChances, count: int, level: float) -> list[str]:
    """The sentences about an ensemble without comparison pictures."""
    weak = (
        "Without comparison pictures this test is weak: it also marks pictures that are only like training pictures, "
        "and how often it does so is not known here."
    )
    how = (
        "Each network of the ensemble was trained on a part of the data that was drawn at random. Networks that saw "
        "some part are compared with groups of networks that were put together at random: if no part of the data "
        f"matters for a picture, this makes at most {_allowed(level)}."
    )
    if placebos.smallest > level:
        return [weak, f"No answer: {_small(placebos, level)} {OPEN}", how]
    found, together = int((placebos.each <= level).sum()), count > 1 and placebos.together <= level
    group = [_placebos_together(placebos, count)] if count > 1 else []
    sentences = [weak, _verdict(found, count, together), how, *group]
    if not found and not together:
        return sentences
    return [
        *sentences,
        "So pictures like these may be in the training data: these very ones, others by the same person, or others "
        f"that are alike. Only comparison pictures can tell more. {NO_PROOF}",
    ]


def _second(placebos: PlaceboChances, level: float) -> list[str]:
    """The sentence about the test of an ensemble that needs no comparison pictures, after that which has them."""
    start = "A second test needs no comparison pictures and is weaker: it also marks pictures that are only alike."
    if placebos.smallest > level:
        return [f"{start} It has no answer: {_small(placebos, level)}"]
    found, count = int((placebos.each <= level).sum()), len(placebos.each)
    return [f"{start} It marks {found:,} of {plural(count, 'picture')}."]


def _placebos_together(placebos: PlaceboChances, count: int) -> str:
    return (
        f"All {count:,} together, as if by one contributor: random groups of networks would do this well "
        f"{_times(placebos.together)}."
    )


def _small(placebos: PlaceboChances, level: float) -> str:
    return (
        f"with so many units and members nothing can be rarer than {percent(placebos.smallest)}; "
        f"{_allowed(level)} takes more members, or larger units."
    )


def _allowed(level: float) -> str:
    """The share of mistakes that is allowed, as people count: ``1 mistake in 100``."""
    one_in = round(1 / level)
    return f"1 mistake in {one_in:,}" if abs(one_in * level - 1) < 1e-9 else f"{100 * level:.3g} mistakes in 100"


def _times(chance: float) -> str:
    """A chance as people count: ``about once in 50 times``."""
    if chance < 0.001:
        return "less than once in 1,000 times"
    return f"about once in {round(1 / chance):,} times" if chance <= 0.1 else f"in about {chance:.0%} of cases"
