"""The report of credit: one page with all shares, their intervals and what is owed to nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from whence import artefacts
from whence.credit.credit import Explained
from whence.report.credit.bars import share_bar
from whence.report.credit.figures import Share, Shared
from whence.report.credit.folder import Credits, by_picture
from whence.report.credit.making import making, told
from whence.report.credit.sentences import Line, account, called
from whence.report.credit.words import LABELS, asks, meaning, tally, titled
from whence.report.pictures import SMALL, Picture, data_uri
from whence.report.templates import fill

#: Bars on the page, about; as many pictures are shown as they allow, but at least and at most these.
BARS, FEWEST, MOST = 4000, 4, 50
#: Contributors in a table that are not folded: in all, and of more the first and the last. Those below 0 never are.
UNFOLDED, FIRST, LAST = 40, 25, 10


def write_credit_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of credit: one self-contained HTML file.

    Args:
        folder: A credit folder: the shares of one or more estimators (each a directory), `data/` with the training
            examples and `queries/` with the pictures that were asked about, where there are some.
        out: The file; default `report.html` in the folder. One that is there is replaced.

    Returns:
        The file.

    Raises:
        ArtefactError: There are no shares, or something is missing or damaged.
        MismatchError: Shares in the folder are of different contributors or data.
    """
    out = out or folder / "report.html"
    artefacts.write_bytes(out, render(Credits.read(folder), out.parent).encode("utf-8"))
    return out


@dataclass(frozen=True)
class Row:
    """A contributor in a table."""

    name: str
    examples: int
    bar: Markup
    number: str
    interval: str
    verdict: str
    label: str


@dataclass(frozen=True)
class Answer:
    """The shares in a behaviour by one estimator: rows from the largest, of which the middle ones are folded."""

    estimator: str
    label: str
    units: str
    first: list[Row]
    folded: list[Row]
    last: list[Row]
    account: list[Line]


@dataclass(frozen=True)
class Part:
    """The model, or a picture, with what was shared out of it."""

    anchor: str
    title: str
    picture: Picture | None
    behaviours: list[tuple[Explained, str, list[Answer]]]


def render(found: Credits, beside: Path) -> str:
    """The report as HTML, with links to the tables as they are seen from a folder."""
    pictures = by_picture(found.explained)
    each = len(found.credits) * len(found.any.units)
    shown = min(MOST, max(FEWEST, BARS // each))
    estimators = {name: asks(name) for name in found.credits}
    return fill(
        "credit.html.j2",
        styles=("report.css", "scores.css", "credit.css"),
        name=found.path.resolve().name,
        version=str(next(iter(found.manifests.values())).environment["whence"]),
        crisp=found.small,
        units=len(found.any.units),
        together=found.together,
        titled=titled,
        estimators=estimators,
        how={name: told(credit) for name, credit in found.credits.items()},
        efficient={name: credit.efficient for name, credit in found.credits.items()},
        intervals=any(credit.replicates is not None for credit in found.credits.values()),
        model=[_part(found, f"b{k}", one.title, [one]) for k, one in enumerate(found.explained) if one.picture is None],
        pictures=[
            _part(found, f"p{k}", f"Picture {name}", own, name)
            for k, (name, own) in enumerate(list(pictures.items())[:shown])
        ],
        asked=len(pictures),
        places=_places(found, beside),
        making=dict(making(found, *found.credits)),
    )


def _part(found: Credits, anchor: str, title: str, explained: list[Explained], query: str | None = None) -> Part:
    pixels = None if query is None else found.query(query)
    picture = None if pixels is None else Picture(data_uri(pixels, SMALL), title, title)
    return Part(anchor, title, picture, [(one, meaning(one.name), list(_answers(found, one))) for one in explained])


def _answers(found: Credits, explained: Explained) -> Iterator[Answer]:
    for name, credit in found.credits.items():
        if any(one.name == explained.name for one in credit.explained):
            shared = Shared.of(credit, explained.name)
            rows = [_row(shared, one) for one in shared.shares]
            first, last = _fold(shared)
            yield Answer(
                name,
                tally(shared.verdicts),
                shared.measure.units,
                rows[:first],
                rows[first:last],
                rows[last:],
                account(shared),
            )


def _row(shared: Shared, share: Share) -> Row:
    measure, percent = shared.measure, shared.measure.percent(share.value)
    low_high = "" if share.interval is None else " to ".join(map(measure.signed, share.interval))
    return Row(
        called(share.unit),
        share.examples,
        share_bar(shared.scale, share),
        f"{measure.signed(share.value)}{f' ({percent})' if percent else ''}",
        low_high,
        share.verdict,
        LABELS[share.verdict] if share.verdict in ("nothing", "below") else "",
    )


def _fold(shared: Shared) -> tuple[int, int]:
    """Between which rows a table is folded."""
    count, below = len(shared.shares), sum(one.value < 0 for one in shared.shares)
    return (count, count) if count <= UNFOLDED else (FIRST, max(FIRST, count - max(LAST, below)))


def _places(found: Credits, beside: Path) -> dict[str, str]:
    """Where the tables of every estimator lie; empty where the page is not beside them."""
    links = {name: Path(os.path.relpath((found.path / name).resolve(), beside.resolve())) for name in found.credits}
    return {name: "" if ".." in link.parts else link.as_posix() for name, link in links.items()}
