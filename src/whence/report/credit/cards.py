"""What a statement says of its contributor: in each behaviour of the model, and of each picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whence.credit.credit import Credit, Explained
from whence.report.credit.bars import line_of_all
from whence.report.credit.figures import Shared
from whence.report.credit.folder import Credits, by_picture
from whence.report.credit.sentences import Finding, Line, account, finding
from whence.report.credit.words import asks, meaning
from whence.report.pictures import SMALL, Picture, data_uri


@dataclass(frozen=True)
class Card:
    """What is said of a contributor in one behaviour."""

    title: str
    meaning: str
    finding: Finding
    line: Markup
    account: list[Line]
    units: str


@dataclass(frozen=True)
class Asked:
    """A picture that was asked about, with what is said of it."""

    name: str
    picture: Picture | None
    cards: list[Card]


def card(credit: Credit, explained: Explained, unit: str) -> Card:
    """Return what is said of a contributor in one behaviour."""
    shared = Shared.of(credit, explained.name)
    words = finding(shared, shared.of_unit(unit))
    return Card(
        explained.title,
        meaning(explained.name),
        words,
        line_of_all(shared, unit),
        account(shared, unit),
        shared.measure.units,
    )


def asked(found: Credits, credit: Credit, unit: str) -> Iterator[Asked]:
    """Every picture that was asked about, with what is said of it."""
    for name, several in by_picture(credit.explained).items():
        pixels = found.query(name)
        picture = None if pixels is None else Picture(data_uri(pixels, SMALL), f"Picture {name}", name)
        yield Asked(name, picture, [card(credit, one, unit) for one in several])


def unclear(one: Asked) -> bool:
    """Whether nothing can be told of a picture: every interval contains zero, or none is known."""
    return not any(own.finding.verdict in ("above", "below") for own in one.cards)


def outcome(pictures: Sequence[Asked]) -> str:
    """For how many pictures something can be told, in words."""
    if any(own.finding.verdict == "unknown" for one in pictures for own in one.cards):
        return "how sure the shares are, is not known."
    clear = sum(not unclear(one) for one in pictures)
    if clear == len(pictures):
        return "some likely range leaves out zero." if clear == 1 else "for each, some likely range leaves out zero."
    if not clear:
        return "every likely range contains zero; all shares could as well be nothing."
    return f"for {clear:,}, some likely range leaves out zero; for the others every share could as well be nothing."


def others(found: Credits, unit: str, estimator: str) -> Iterator[tuple[str, str, list[tuple[str, Finding]]]]:
    """What other estimators say of the model: name, what a share is, and behaviours with findings."""
    for name, credit in found.credits.items():
        about = [one for one in credit.explained if one.picture is None]
        if name != estimator and about:
            cards = [card(credit, one, unit) for one in about]
            yield name, asks(name), [(own.title, own.finding) for own in cards]
