"""The audit of training data: a table of every training image, in which what stands out can be found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whence import artefacts
from whence.artefacts import Artefact
from whence.errors import ConfigError


@dataclass(frozen=True)
class Column:
    """A number of every training image. The larger it is, the more the image stands out.

    Attributes:
        name: Its name in tables.
        title: Its name on pages.
        meaning: What a large value says, in plain words.
    """

    name: str
    title: str
    meaning: str

    @property
    def label(self) -> str:
        """Its name where there is little room."""
        return self.name.replace("_", "-")


#: Columns that images can be sorted by. One that a model or a data set does not have is left out.
COLUMNS = (
    Column("loss", "Hard for the model (loss)", "The model draws it badly: it is hard, rare, or not like the others."),
    Column(
        "self_influence",
        "Known only from itself (self-influence)",
        "What the model knows of it comes from the image itself, not from others: it may be rare, mislabelled or from "
        "another source.",
    ),
    Column(
        "distance",
        "Far from all others (distance)",
        "No other training image is near it: it may be one of a kind, or from another source.",
    ),
    Column(
        "copies",
        "Same or nearly the same (copies)",
        "So many training images are the same or nearly the same, this one included.",
    ),
    Column(
        "caption_gain",
        "Caption helps little (caption-gain)",
        "Its caption helps the model less than others do, or harms: it may be wrong.",
    ),
    Column(
        "caption_excess",
        "Another caption fits better (caption-excess)",
        "A caption of a similar image fits better than its own.",
    ),
    Column("visits", "Times seen in training (visits)", "Training saw it so often."),
)


@dataclass(frozen=True)
class DataAudit(Artefact):
    """The audit of the training data of a model.

    `table` has N rows: id, units, caption, `nearest` (the id of the nearest other image by pixels), `best_caption` (the
    caption of a similar image that fits best), and the numbers of `columns`:

    * loss: mean denoising loss over the draws
    * self_influence: of a model the diagonal of the scores of a method, of an ensemble the exact loss of its ablation
      minus that of as many members, in units of the loss
    * distance: to the nearest other image, the root mean square over pixels in [0, 1]
    * copies: images in its cluster of near-duplicates, from 1
    * caption_gain: loss with its caption minus loss with the empty one
    * caption_excess: loss with its caption minus the lowest loss with a caption of similar images
    * visits: how often a recorded training saw it
    """

    kind = "data audit"

    @cached_property
    def table(self) -> dict[str, list[Any]]:
        """The columns by name."""
        return artefacts.read_table(self.path / "images.parquet")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The numbers that this audit has."""
        return tuple(column for column in COLUMNS if column.name in self.table)

    def values(self, name: str) -> np.ndarray:
        """Return a number of every image, float64 [N]; NaN where it is not known.

        Raises:
            ConfigError: There is no such number.
        """
        if name not in {column.name for column in self.columns}:
            known = ", ".join(column.name for column in self.columns)
            raise ConfigError(f"The audit has no number {name!r}; images are sorted by {known}.")
        return np.array([math.nan if value is None else value for value in self.table[name]], np.float64)

    def worst(self, name: str, count: int) -> list[int]:
        """Return the rows of the `count` largest values, largest first; ties in the order of the data.

        Raises:
            ConfigError: There is no such number, or there are not so many images.
        """
        values = self.values(name)
        if not 0 <= count <= len(values):
            raise ConfigError(f"From 0 to {len(values):,} images can be the worst; given {count}.")
        order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
        rows: list[int] = order[:count].tolist()
        return rows

    def standing_out(self, name: str, count: int) -> list[int]:
        """Return those of the `count` largest values that are larger than the smallest value of all.

        Raises:
            ConfigError: There is no such number.
        """
        values = self.values(name)
        if np.isnan(values).all():
            return []
        return [n for n in self.worst(name, min(count, len(values))) if values[n] > np.nanmin(values)]

    @cached_property
    def groups(self) -> list[Group]:
        """Units of several images, or clusters of near-duplicates where there are none; the highest mean loss first."""
        units: dict[str, list[int]] = {}
        for n, names in enumerate(self.table["units"]):
            for name in names:
                units.setdefault(name, []).append(n)
        if all(len(rows) == 1 for rows in units.values()):
            units = {}
            for n, cluster in enumerate(self.table["cluster"]):
                units.setdefault(f"near-duplicates of {self.table['id'][cluster]}", []).append(n)
            units = {name: rows for name, rows in units.items() if len(rows) > 1}
        groups = [Group(name, rows, self._means(rows)) for name, rows in units.items()]
        return sorted(groups, key=lambda group: -group.means["loss"])

    def _means(self, rows: Sequence[int]) -> dict[str, float]:
        """The mean of every number over some rows that have it."""
        means = {}
        for column in self.columns:
            values = self.values(column.name)[list(rows)]
            known = values[~np.isnan(values)]
            means[column.name] = float(known.mean()) if len(known) else math.nan
        return means


@dataclass(frozen=True)
class Group:
    """Images that belong together.

    Attributes:
        name: The unit, or the first of near-duplicates.
        rows: Their rows.
        means: The mean of every number over them.
    """

    name: str
    rows: list[int]
    means: dict[str, float]
