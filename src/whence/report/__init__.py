"""Reports: self-contained HTML files about ensembles, scores and credit, for people who do not know ensembles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whence import artefacts
from whence.ensemble import Ensemble
from whence.report.credit import write_credit_report
from whence.report.ensemble import write_report
from whence.report.scores import write_scores_report

__all__ = ["PAGES", "Page", "page_of", "write_report"]


@dataclass(frozen=True)
class Page:
    """A kind of page."""

    content: str  # what the page is about, as a plural: ``scores``
    write: Callable[[Path, Path | None], Path]  # from a folder and a file; None for ``report.html`` in the folder


ENSEMBLE = Page("ensembles", lambda folder, out: write_report(Ensemble.open(folder), out))
SCORES = Page("scores", write_scores_report)
CREDIT = Page("shares", write_credit_report)
#: The page of each kind of artefact. A folder that holds several kinds has the page of the first of them.
PAGES = {"credit": CREDIT, "credit study": CREDIT, "scores": SCORES, "attribution": SCORES, "ensemble": ENSEMBLE}


def page_of(folder: Path) -> Page:
    """Return the page of a folder, by the kinds of the artefacts in it; that of an ensemble where there is no other.

    Raises:
        ArtefactError: There is nothing, or something unfinished.
    """
    kinds = artefacts.kinds_in(folder)
    return next((page for kind, page in PAGES.items() if kind in kinds), ENSEMBLE)
