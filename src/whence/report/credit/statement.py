"""A page for one contributor, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from whence import artefacts
from whence.credit.credit import Credit, Explained
from whence.data import NO_UNIT
from whence.errors import DataError
from whence.report.credit.bars import line_of_all
from whence.report.credit.figures import Shared
from whence.report.credit.folder import Credits, by_picture
from whence.report.credit.making import making
from whence.report.credit.sentences import Finding, Line, account, called, finding
from whence.report.credit.words import asks, meaning, titled
from whence.report.pictures import CRISP, SMALL, Picture, data_uri
from whence.report.templates import fill

#: Training pictures on the page, and pictures that were asked about.
EXAMPLES, PICTURES = 24, 24
#: Measurements of the model that are told at the top.
LISTED = 6


def write_statement(folder: Path, unit: str, out: Path | None = None, estimator: str | None = None) -> Path:
    """Write the statement for one contributor: one self-contained HTML file.

    Args:
        folder: A credit folder: the shares of one or more estimators (each a directory), `data/` with the training
            examples and `queries/` with the pictures that were asked about, where there are some.
        unit: The contributor.
        out: The file; default `statements/UNIT.html` in the folder. One that is there is replaced.
        estimator: By which shares; default the first whose shares add up.

    Returns:
        The file.

    Raises:
        ArtefactError: There are no shares, none by this estimator, or something is missing or damaged.
        DataError: There is no such contributor.
        MismatchError: Shares in the folder are of different contributors or data.
    """
    found = Credits.read(folder)
    if unit not in found.any.units:
        listed = ", ".join(found.any.units[:8]) + (" ..." if len(found.any.units) > 8 else "")
        raise DataError(f"There is no contributor {unit!r}; there are {len(found.any.units)}: {listed}")
    out = out or folder / "statements" / f"{file_name(unit)}.html"
    artefacts.write_bytes(out, render(found, unit, found.chosen(estimator)).encode("utf-8"))
    return out


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


def render(found: Credits, unit: str, estimator: str) -> str:
    """The statement as HTML."""
    credit = found.credits[estimator]
    own = credit.examples[credit.units.index(unit)]
    cards = [_card(credit, one, unit) for one in credit.explained if one.picture is None]
    asked = list(_asked(found, credit, unit))
    size = found.data.size if found.data is not None else (1, 1, 1)
    return fill(
        "statement.html.j2",
        styles=("report.css", "scores.css", "credit.css"),
        name=called(unit),
        nobody=unit == NO_UNIT,
        version=str(found.manifests[estimator].environment["whence"]),
        crisp=max(size[1:]) <= CRISP,
        credit=credit,
        titled=titled,
        asks=asks(estimator),
        intervals=credit.replicates is not None,
        own=len(own),
        shared=_also_of_others(credit, own),
        together=found.together,
        cards=cards,
        asked=sorted(asked, key=_clearest)[:PICTURES],
        pictures=len(asked),
        outcome=_outcome(asked),
        listed_cards=LISTED,
        examples=_examples(found, own),
        kept=found.data is not None,
        others=list(_others(found, unit, estimator)),
        how=credit.how,
        making=dict(making(found, estimator)),
    )


def file_name(unit: str) -> str:
    """Return the name of a contributor as that of a file, different for different names.

    Example:
        >>> file_name("artist 7"), file_name("../a")
        ('artist 7', '-a-524cd4')
    """
    plain = re.sub(r"[^\w ().-]+", "-", unit).strip(". ")[:60]
    return plain if plain and plain == unit else f"{plain}-{artefacts.digest(unit)[:6]}"


def _card(credit: Credit, explained: Explained, unit: str) -> Card:
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


def _asked(found: Credits, credit: Credit, unit: str) -> Iterator[Asked]:
    for name, several in by_picture(credit.explained).items():
        pixels = found.query(name)
        picture = None if pixels is None else Picture(data_uri(pixels, SMALL), f"Picture {name}", name)
        yield Asked(name, picture, [_card(credit, one, unit) for one in several])


def _clearest(one: Asked) -> bool:
    """Those where nothing can be told stand last; the rest keeps its order."""
    return not any(card.finding.verdict in ("above", "below") for card in one.cards)


def _outcome(asked: Sequence[Asked]) -> str:
    """For how many pictures something can be told, in words."""
    if any(card.finding.verdict == "unknown" for one in asked for card in one.cards):
        return "how sure the shares are, is not known."
    clear = sum(not _clearest(one) for one in asked)
    if clear == len(asked):
        return "some likely range leaves out zero." if clear == 1 else "for each, some likely range leaves out zero."
    if not clear:
        return "every likely range contains zero; all shares could as well be nothing."
    return f"for {clear:,}, some likely range leaves out zero; for the others every share could as well be nothing."


def _also_of_others(credit: Credit, own: tuple[str, ...]) -> int:
    """How many of a contributor's examples belong to others too."""
    owners: dict[str, int] = {}
    for several in credit.examples:
        for example in several:
            owners[example] = owners.get(example, 0) + 1
    return sum(owners[example] > 1 for example in own)


def _examples(found: Credits, own: tuple[str, ...]) -> list[Picture]:
    """The contributor's training pictures, evenly spaced where they are too many."""
    if found.data is None:
        return []
    count = min(EXAMPLES, len(own))
    chosen = np.linspace(0, len(own) - 1, count).round().astype(int)
    return [
        Picture(data_uri(found.data.pixels[found.data.index_of(own[k])], SMALL), f"Training picture {own[k]}", own[k])
        for k in chosen
    ]


def _others(found: Credits, unit: str, estimator: str) -> Iterator[tuple[str, str, list[tuple[str, Finding]]]]:
    """What other estimators say of the model: name, what a share is, and behaviours with findings."""
    for name, credit in found.credits.items():
        about = [one for one in credit.explained if one.picture is None]
        if name != estimator and about:
            cards = [_card(credit, one, unit) for one in about]
            yield name, asks(name), [(card.title, card.finding) for card in cards]
