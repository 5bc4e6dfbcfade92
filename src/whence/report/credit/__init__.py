"""The report of credit: one page with all shares, their intervals and what is owed to nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from whence import artefacts
from whence.credit.behaviours import meaning
from whence.credit.credit import Explained
from whence.report.credit.credit_folder import CreditFolder, by_picture, how_made
from whence.report.credit.sentences import AccountLine, account, contributor_name, estimator_title, share_phrase, tally
from whence.report.credit.share import LABELS, BehaviourShares, Share
from whence.report.credit.statement import write_statement
from whence.report.picture import Picture
from whence.report.plot import interval_bar
from whence.report.template import fill

__all__ = ["write_credit_report", "write_statement"]

#: Bars on the page, about. As many pictures are shown as they allow, but at least and at most these numbers.
BARS, FEWEST, MOST = 4000, 4, 50
#: A table of more contributors than the first number is folded, but for the first and the last contributors (second and
#: third number). Shares below 0 are never folded.
UNFOLDED, FIRST, LAST = 40, 25, 10
#: Styles of bars: an outline where zero lies inside the interval, grey without an interval.
BAR_STYLES = {"nothing": "within", "unknown": "untested"}


def write_credit_report(folder: Path, out: Path | None = None) -> Path:
    """Return the path of the report of credit, written as one self-contained HTML file that replaces an older one.

    The folder holds the shares of one or more estimators (each a directory), `data/` with the training examples and
    `queries/` with the queries, where there are some. `out` is by default `report.html` in it.

    Raises:
        ArtefactError: There are no shares, or something is missing or damaged.
        MismatchError: Shares in the folder are of different contributors or data.
    """
    out = out or folder / "report.html"
    artefacts.write_bytes(out, render(CreditFolder.read(folder), out.parent).encode("utf-8"))
    return out


@dataclass(frozen=True)
class ShareRow:
    """A contributor in a table."""

    name: str
    examples: int
    bar: Markup
    number: str
    interval: str
    verdict: str
    label: str


@dataclass(frozen=True)
class ShareTable:
    """The shares in a behaviour by one estimator: rows from the largest. The middle rows may be folded."""

    estimator: str
    label: str
    units: str
    first: list[ShareRow]
    folded: list[ShareRow]
    last: list[ShareRow]
    account: list[AccountLine]


@dataclass(frozen=True)
class ShareSection:
    """The model, or a picture: each of its behaviours with its meaning and the tables of all estimators."""

    anchor: str
    title: str
    picture: Picture | None
    behaviours: list[tuple[Explained, str, list[ShareTable]]]


def render(folder: CreditFolder, place: Path) -> str:
    """The report as HTML; links to the tables start from the folder `place`."""
    pictures = by_picture(folder.explained)
    shown = min(MOST, max(FEWEST, BARS // (len(folder.credits) * len(folder.any.units))))
    of_model = [behaviour for behaviour in folder.explained if behaviour.picture is None]
    return fill(
        "credit.html.j2",
        styles=("report.css", "scores.css", "credit.css"),
        name=folder.path.resolve().name,
        version=str(next(iter(folder.manifests.values())).environment["whence"]),
        crisp=folder.crisp,
        units=len(folder.any.units),
        examples=folder.example_count,
        estimator_title=estimator_title,
        estimators={name: share_phrase(name) for name in folder.credits},
        how={name: how_made(credit) for name, credit in folder.credits.items()},
        efficient={name: credit.efficient for name, credit in folder.credits.items()},
        intervals=any(credit.replicates is not None for credit in folder.credits.values()),
        model=[_section(folder, f"b{k}", behaviour.title, [behaviour]) for k, behaviour in enumerate(of_model)],
        pictures=[
            _section(folder, f"p{k}", f"Picture {name}", behaviours, name)
            for k, (name, behaviours) in enumerate(list(pictures.items())[:shown])
        ],
        query_count=len(pictures),
        table_folders=_table_folders(folder, place),
        provenance=dict(folder.provenance(*folder.credits)),
    )


def _section(
    folder: CreditFolder, anchor: str, title: str, behaviours: list[Explained], query: str | None = None
) -> ShareSection:
    picture = None if query is None else folder.picture(query, title)
    rows = [(behaviour, meaning(behaviour.name), list(_tables(folder, behaviour))) for behaviour in behaviours]
    return ShareSection(anchor, title, picture, rows)


def _tables(folder: CreditFolder, explained: Explained) -> Iterator[ShareTable]:
    for name, credit in folder.credits.items():
        if any(behaviour.name == explained.name for behaviour in credit.explained):
            shares = BehaviourShares.of(credit, explained.name)
            rows = [_row(shares, share) for share in shares.shares]
            first, last = _fold(shares)
            label, units = tally([share.verdict for share in shares.shares]), shares.format.units
            yield ShareTable(name, label, units, rows[:first], rows[first:last], rows[last:], account(shares))


def _row(behaviour: BehaviourShares, share: Share) -> ShareRow:
    written, percent = behaviour.format, behaviour.format.percent(share.value)
    number = written.signed(share.value) + (f" ({percent})" if percent else "")
    interval = "" if share.interval is None else " to ".join(map(written.signed, share.interval))
    label = LABELS[share.verdict] if share.verdict in ("nothing", "below") else ""
    bar = share_bar(behaviour, share)
    return ShareRow(contributor_name(share.unit), share.examples, bar, number, interval, share.verdict, label)


def share_bar(behaviour: BehaviourShares, share: Share) -> Markup:
    """A bar from 0 to a share with its interval."""
    style = BAR_STYLES.get(share.verdict, "")
    return interval_bar(behaviour.format.scale, share.value, share.interval, style, LABELS[share.verdict])


def _fold(behaviour: BehaviourShares) -> tuple[int, int]:
    """The first row that is folded, and the first row after the folded ones."""
    count, below = len(behaviour.shares), sum(share.value < 0 for share in behaviour.shares)
    return (count, count) if count <= UNFOLDED else (FIRST, max(FIRST, count - max(LAST, below)))


def _table_folders(folder: CreditFolder, place: Path) -> dict[str, str]:
    """The folder with the tables of each estimator, as a link from `place`; empty where it is not below `place`."""
    links = {name: Path(os.path.relpath((folder.path / name).resolve(), place.resolve())) for name in folder.credits}
    return {name: "" if ".." in link.parts else link.as_posix() for name, link in links.items()}
