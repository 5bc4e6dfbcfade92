"""A collection: what the pages of the explorer read, whatever kind of folder it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from whence.ensemble import Ensemble
from whence.explore.reading import Mention, Reading
from whence.explore.training import Training
from whence.explore.upload import Uploads


@dataclass(frozen=True)
class Entry:
    """A picture of a collection."""

    name: str  # its name, such as SEED/INDEX
    prompt: str = ""  # what it was drawn from, or its caption; empty without text
    origin: str = ""  # where it is from, in words
    drawn: bool = False  # whether all members of an ensemble drew it, so that it can be drawn again without units
    shown: bool = True  # whether its pixels were kept


class Collection(Protocol):
    """Pictures, training images, and readings of a picture."""

    @property
    def path(self) -> Path:
        """The folder."""

    @property
    def training(self) -> Training:
        """The training images."""

    @property
    def uploads(self) -> Uploads:
        """The pictures that visitors brought, which are in memory alone."""

    @property
    def ensemble(self) -> Ensemble | None:
        """The ensemble, which draws and measures on demand; None where there is none."""

    @property
    def command(self) -> str:
        """The command that scores a picture of one's own; empty of an ensemble, which measures on demand."""

    def entries(self) -> Mapping[str, Entry]:
        """Return the pictures by name, in the order of the first page."""

    def pixels(self, name: str) -> np.ndarray | None:
        """Return a picture, uint8 [C, H, W]; None where it was not kept."""

    def reading_titles(self, name: str) -> Mapping[str, str]:
        """Return the titles of the readings of a picture, by key."""

    def reading(self, name: str, key: str) -> Reading:
        """Return one of the readings of a picture."""

    def mentions(self, unit: str | None, image: str | None) -> Sequence[Mention]:
        """Return the effects of a unit or of a training image on all pictures, those that stand out first."""
