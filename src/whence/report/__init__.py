"""Reports: self-contained HTML files about ensembles, scores and credit, for people who do not know ensembles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whence import artefacts
from whence.lazy import attribute_reader

if TYPE_CHECKING:
    from whence.report.ensemble import write_report as write_report

__all__ = ["PAGES", "Page", "page_of", "write_report"]
__getattr__ = attribute_reader(__name__, {"write_report": "whence.report.ensemble"})


@dataclass(frozen=True)
class Page:
    """A kind of page."""

    content: str  # what the page is about, as a plural: ``scores``
    write: Callable[[Path, Path | None], Path]  # from a folder and a file; None for ``report.html`` in the folder


def _write_ensemble_page(folder: Path, out: Path | None) -> Path:
    from whence.ensemble import Ensemble
    from whence.report.ensemble import write_report

    return write_report(Ensemble.open(folder), out)


def _write_scores_page(folder: Path, out: Path | None) -> Path:
    from whence.report.scores import write_scores_report

    return write_scores_report(folder, out)


def _write_credit_page(folder: Path, out: Path | None) -> Path:
    from whence.report.credit import write_credit_report

    return write_credit_report(folder, out)


ENSEMBLE = Page("ensembles", _write_ensemble_page)
SCORES = Page("scores", _write_scores_page)
CREDIT = Page("shares", _write_credit_page)
#: The page of each kind of artefact. A folder that holds several kinds has the page of the first of them.
PAGES = {
    "credit": CREDIT,
    "credit study": CREDIT,
    "scores": SCORES,
    "top scores": SCORES,
    "attribution": SCORES,
    "ensemble": ENSEMBLE,
}


def page_of(folder: Path) -> Page:
    """Return the page of a folder, by the kinds of the artefacts in it; that of an ensemble where there is no other.

    Raises:
        ArtefactError: There is nothing, or something unfinished.
    """
    kinds = artefacts.kinds_in(folder)
    return next((page for kind, page in PAGES.items() if kind in kinds), ENSEMBLE)
