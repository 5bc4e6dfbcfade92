"""A page for one contributor, in plain words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from whence import artefacts
from whence.credit.behaviours import meaning
from whence.credit.credit import Credit, Explained
from whence.data import NO_UNIT
from whence.errors import DataError
from whence.report.credit.credit_folder import CreditFolder, by_picture, how_made
from whence.report.credit.sentences import (
    AccountLine,
    Finding,
    account,
    contributor_name,
    estimator_title,
    finding,
    share_phrase,
)
from whence.report.credit.share import BehaviourShares
from whence.report.picture import SMALL, Picture, data_uri
from whence.report.template import fill

#: Training pictures on the page, and queries.
EXAMPLES, QUERIES = 24, 24
#: Measurements of the model that are listed at the top.
LISTED = 6
#: Two numbers below a line touch if they are closer than this, in percent of its width.
APART = 22


def write_statement(folder: Path, unit: str, out: Path | None = None, estimator: str | None = None) -> Path:
    """Return the path of a contributor's statement, written as one self-contained HTML file that replaces an older one.

    The folder is as in `write_credit_report`; `out` is by default `statements/UNIT.html` in it. The estimator is by
    default the first whose shares add up.

    Raises:
        ArtefactError: There are no shares, none by this estimator, or something is missing or damaged.
        DataError: There is no such contributor.
        MismatchError: Shares in the folder are of different contributors or data.
    """
    credits = CreditFolder.read(folder)
    units = credits.any.units
    if unit not in units:
        names = ", ".join(units[:8]) + (" ..." if len(units) > 8 else "")
        raise DataError(f"There is no contributor {unit!r}; there are {len(units)}: {names}")
    out = out or folder / "statements" / f"{file_name(unit)}.html"
    artefacts.write_bytes(out, render(credits, unit, credits.estimator(estimator)).encode("utf-8"))
    return out


@dataclass(frozen=True)
class ShareCard:
    """The share of a contributor in one behaviour."""

    title: str
    meaning: str
    finding: Finding
    line: Markup
    account: list[AccountLine]
    units: str


@dataclass(frozen=True)
class QueryShares:
    """A query, with the shares of a contributor in all behaviours that are about it."""

    name: str
    picture: Picture | None
    cards: list[ShareCard]

    @property
    def unclear(self) -> bool:
        """Whether nothing can be said: every interval contains zero, or none is known."""
        return not any(card.finding.verdict in ("above", "below") for card in self.cards)


def render(folder: CreditFolder, unit: str, estimator: str) -> str:
    """The statement as HTML."""
    credit = folder.credits[estimator]
    examples = credit.examples[credit.units.index(unit)]
    queries = list(_queries(folder, credit, unit))
    owners = Counter(example for several in credit.examples for example in several)
    return fill(
        "statement.html.j2",
        styles=("report.css", "scores.css", "credit.css"),
        name=contributor_name(unit),
        nobody=unit == NO_UNIT,
        version=str(folder.manifests[estimator].environment["whence"]),
        crisp=folder.crisp,
        credit=credit,
        estimator_title=estimator_title,
        share_phrase=share_phrase(estimator),
        intervals=credit.replicates is not None,
        example_count=len(examples),
        overlap=sum(owners[example] > 1 for example in examples),
        all_examples=folder.example_count,
        cards=[share_card(credit, behaviour, unit) for behaviour in credit.explained if behaviour.picture is None],
        queries=sorted(queries, key=lambda query: query.unclear)[:QUERIES],
        query_count=len(queries),
        outcome=_outcome(queries),
        listed_cards=LISTED,
        examples=_pictures(folder, examples),
        other_estimators=list(_other_estimators(folder, unit, estimator)),
        how=how_made(credit),
        provenance=dict(folder.provenance(estimator)),
    )


def share_card(credit: Credit, explained: Explained, unit: str) -> ShareCard:
    """Return the share of a contributor in one behaviour."""
    shares = BehaviourShares.of(credit, explained.name)
    return ShareCard(
        explained.title,
        meaning(explained.name),
        finding(shares, shares.of_unit(unit)),
        share_line(shares, unit),
        account(shares, unit),
        shares.format.units,
    )


def _queries(folder: CreditFolder, credit: Credit, unit: str) -> Iterator[QueryShares]:
    """Every query, with the shares of a contributor in it."""
    for name, behaviours in by_picture(credit.explained).items():
        cards = [share_card(credit, behaviour, unit) for behaviour in behaviours]
        yield QueryShares(name, folder.picture(name, name), cards)


def _outcome(queries: Sequence[QueryShares]) -> str:
    """For how many queries something can be said, in words."""
    if any(card.finding.verdict == "unknown" for query in queries for card in query.cards):
        return "it is not known how sure the shares are."
    clear = sum(not query.unclear for query in queries)
    if clear == len(queries):
        start = "some" if clear == 1 else "for each picture, some"
        return f"{start} likely range leaves out zero."
    if not clear:
        return "every likely range contains zero; all shares could as well be nothing."
    start = f"for {clear:,} of them, some likely range leaves out zero"
    return f"{start}; for the others, every share could as well be nothing."


def _other_estimators(
    folder: CreditFolder, unit: str, estimator: str
) -> Iterator[tuple[str, str, list[tuple[str, Finding]]]]:
    """The shares in the model by other estimators: name, what a share is, and behaviours with findings."""
    for name, credit in folder.credits.items():
        behaviours = [behaviour for behaviour in credit.explained if behaviour.picture is None]
        if name != estimator and behaviours:
            cards = [share_card(credit, behaviour, unit) for behaviour in behaviours]
            yield name, share_phrase(name), [(card.title, card.finding) for card in cards]


def file_name(unit: str) -> str:
    """Return a file name for a contributor, different for different names."""
    plain = re.sub(r"[^\w ().-]+", "-", unit).strip(". ")[:60].encode()[:120].decode("utf-8", "ignore")
    return plain if plain and plain == unit else f"{plain}-{artefacts.digest(unit)[:6]}"


def _pictures(folder: CreditFolder, examples: tuple[str, ...]) -> list[Picture]:
    """The contributor's training pictures, evenly spaced where there are too many."""
    if folder.data is None:
        return []
    count = min(EXAMPLES, len(examples))
    ids = [examples[k] for k in np.linspace(0, len(examples) - 1, count).round().astype(int)]
    pixels = folder.data.pixels
    return [Picture(data_uri(pixels[folder.data.index_of(id)], SMALL), f"Training picture {id}", id) for id in ids]


def share_line(behaviour: BehaviourShares, unit: str) -> Markup:
    """An SVG line with a mark for every contributor's share; the mark of `unit` stands out and shows its interval."""
    scale, share = behaviour.format.scale, behaviour.of_unit(unit)
    others = {scale.place(other.value) for other in behaviour.shares if other.unit != unit}
    mark = Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="{2}" y2="{3}"/>')
    parts = [Markup('<line class="base" x2="100%" y1="22" y2="22"/>')]
    parts += [mark.format("other", place, 15, 29) for place in sorted(others)]
    parts.append(mark.format("zero", scale.place(0.0), 4, 40))
    if share.interval is not None:
        low, high = map(scale.place, share.interval)
        parts.append(Markup('<line class="error" x1="{:.2f}%" x2="{:.2f}%" y1="22" y2="22"/>').format(low, high))
    circle = Markup('<circle class="{}" cx="{:.2f}%" cy="22" r="6"/>')
    parts.append(circle.format(share.verdict, scale.place(share.value)))
    text = Markup("Shares of all {} contributors on a line; that of {} is {}.")
    label = text.format(len(behaviour.shares), unit, behaviour.format.amount(share.value))
    parts += _line_numbers(behaviour)
    return Markup('<svg class="strip" role="img" aria-label="{}">{}</svg>').format(label, Markup("").join(parts))


def _line_numbers(behaviour: BehaviourShares) -> list[Markup]:
    """Zero and the two ends below the line, where there is room for them."""
    scale, zero = behaviour.format.scale, behaviour.format.scale.place(0.0)
    text = Markup('<text class="{}" x="{:.2f}%" y="54">{}</text>')
    style = "end" if zero > 100 - APART / 4 else "start" if zero < APART / 4 else "middle"
    numbers = [text.format(style, zero, "0")]
    if zero > APART:
        numbers.append(text.format("start", 0.0, behaviour.format.signed(scale.low)))
    if zero < 100 - APART:
        numbers.append(text.format("end", 100.0, behaviour.format.signed(scale.high)))
    return numbers
