"""A page for one contributor, in plain words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.credit.credit import Credit
from whence.data import NO_UNIT
from whence.errors import DataError
from whence.report.credit.cards import asked, card, others, outcome, unclear
from whence.report.credit.folder import Credits
from whence.report.credit.making import making, told
from whence.report.credit.sentences import called
from whence.report.credit.words import asks, titled
from whence.report.pictures import SMALL, Picture, data_uri
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


def render(found: Credits, unit: str, estimator: str) -> str:
    """The statement as HTML."""
    credit = found.credits[estimator]
    own = credit.examples[credit.units.index(unit)]
    cards = [card(credit, one, unit) for one in credit.explained if one.picture is None]
    pictures = list(asked(found, credit, unit))
    return fill(
        "statement.html.j2",
        styles=("report.css", "scores.css", "credit.css"),
        name=called(unit),
        nobody=unit == NO_UNIT,
        version=str(found.manifests[estimator].environment["whence"]),
        crisp=found.small,
        credit=credit,
        titled=titled,
        asks=asks(estimator),
        intervals=credit.replicates is not None,
        own=len(own),
        shared=_also_of_others(credit, own),
        together=found.together,
        cards=cards,
        asked=sorted(pictures, key=unclear)[:PICTURES],
        pictures=len(pictures),
        outcome=outcome(pictures),
        listed_cards=LISTED,
        examples=_examples(found, own),
        kept=found.data is not None,
        others=list(others(found, unit, estimator)),
        how=told(credit),
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
