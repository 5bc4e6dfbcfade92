"""The collection that is in a folder."""

from __future__ import annotations

from pathlib import Path

from whence.explore.collection import Collection
from whence.explore.credit_collection import CreditCollection
from whence.explore.ensemble_collection import EnsembleCollection
from whence.explore.score_collection import ScoreCollection
from whence.report import CREDIT, SCORES, page_of


def open_collection(path: Path) -> Collection:
    """Return what is in a folder: an ensemble, scores or credit.

    Raises:
        ArtefactError: There is nothing of these, or something is unfinished or damaged.
    """
    page = page_of(path)
    if page is CREDIT:
        return CreditCollection.open(path)
    return ScoreCollection.open(path) if page is SCORES else EnsembleCollection.open(path)
