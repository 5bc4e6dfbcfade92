"""The page of an audit of membership: the answer in sentences, then every picture, and some comparison pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whence.audit.membership import MembershipAudit
from whence.data import Dataset
from whence.errors import MismatchError
from whence.report.audit.membership_sentences import membership_sentences
from whence.report.audit.page import write_audit_page
from whence.report.picture import SMALL, Picture, data_uri
from whence.report.text import percent

#: Pictures in question, and comparison pictures, on the page.
SHOWN, COMPARED = 400, 10
#: What a percentage below a picture is not, and how it is read.
READ = "It is not the chance that your picture was used. Low = unusual, high = ordinary."


@dataclass(frozen=True, eq=False)
class Rating:
    """The percentages of pictures, and which pictures are marked.

    Attributes:
        chances: float64 [K].
        marked: bool [K].
        meaning: What a percentage says.
        smallest: The smallest percentage that is possible.
    """

    chances: np.ndarray
    marked: np.ndarray
    meaning: str
    smallest: float

    def details(self, n: int) -> tuple[str, ...]:
        """The lines below a picture; all percentages have as many decimals."""
        decimals = max(1, math.ceil(-math.log10(100 * self.smallest)))
        return (f"{self.chances[n]:.{decimals}%}",) + ("marked",) * bool(self.marked[n])


def write_membership_page(
    audit: MembershipAudit, pictures: Dataset, controls: Dataset | None, level: float, out: Path, *, model: str
) -> Path:
    """Return the path of the page, written as one self-contained HTML file that replaces an older one.

    Raises:
        MismatchError: The pictures or the controls are not those of the audit.
    """
    others = [] if controls is None else list(controls.ids)
    if list(pictures.ids) != audit.pictures["id"] or others != audit.controls["id"]:
        raise MismatchError("The pictures are not those of the audit. Give the pictures that it is of.")
    rating = _rating(audit, level)
    order = range(len(pictures)) if rating is None else np.argsort(rating.chances, kind="stable").tolist()
    cards = [
        (_picture(pictures, n, () if rating is None else rating.details(n)), rating is not None and rating.marked[n])
        for n in order[:SHOWN]
    ]
    shown = np.unique(np.linspace(0, len(others) - 1, min(COMPARED, len(others))).astype(int)).tolist()
    return write_audit_page(
        "audit-membership.html.j2",
        audit,
        out,
        model=model,
        size=pictures.size,
        name="were these pictures in the training data?",
        sentences=membership_sentences(audit, level),
        meaning="" if rating is None else rating.meaning,
        cards=cards,
        count=len(pictures),
        controls=len(others),
        compared=[] if controls is None else [_picture(controls, n) for n in shown],
        settings={"level": percent(level)},
    )


def _picture(data: Dataset, n: int, details: tuple[str, ...] = ()) -> Picture:
    return Picture(data_uri(data.pixels[n], SMALL), f"Picture {data.ids[n]}", data.ids[n], details)


def _rating(audit: MembershipAudit, level: float) -> Rating | None:
    """The percentages by controls where there are some, else by placebos; None where they could tell nothing."""
    test, placebos = audit.test(level), audit.placebos
    if test is not None:
        if not test.can_tell:
            return None
        smallest = 1 / (1 + len(test.first))
        meaning = (
            "The percentage is how many of the unseen comparison pictures did at least as well, the picture itself "
            f"counted as one. {READ} The smallest that is possible with these comparison pictures is "
            f"{percent(smallest)} (1 of {1 + len(test.first):,})."
        )
        return Rating(test.chances, test.found, meaning, smallest)
    if placebos is None or placebos.smallest > level:
        return None
    meaning = (
        "The percentage is how likely it is that random groups of networks do as well, if no part of the training data "
        f"matters for the picture. {READ} The smallest that is possible with this ensemble is "
        f"{percent(placebos.smallest)}."
    )
    return Rating(placebos.each, placebos.each <= level, meaning, placebos.smallest)
