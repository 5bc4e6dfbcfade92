"""The ends of a ranking: examples or units, each with its score in numbers and as a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from markupsafe import Markup
from torch import Tensor

from whence.report.bar import Scale, interval_bar
from whence.report.scores.concentration import share_curve
from whence.scores.scores import Scores
from whence.scores.significance import half_width, rising


@dataclass(frozen=True)
class Entry:
    """One example or unit with its score."""

    column: int  # its column among the scores
    name: str  # its id
    details: tuple[str, ...]  # lines to write below
    score: str  # the score in words
    interval: str  # its 90% interval in words; empty where there is none
    bar: Markup  # both drawn; empty where a bar would mean nothing


@dataclass(frozen=True, eq=False)
class Ranking:
    """The scores of one query by one method."""

    scores: Scores  # scores of the method
    q: int  # row of the query
    tested: bool = True  # whether each score is tested against Monte Carlo noise

    @cached_property
    def row(self) -> Tensor:
        """The scores, float64 [N]."""
        return self.scores.scores[self.q].double()

    @cached_property
    def half(self) -> Tensor | None:
        """Half the widths of their 90% intervals, float64 [N]; None without standard errors."""
        error = self.scores.standard_error
        return None if error is None else half_width(error[self.q])

    @cached_property
    def rises(self) -> Tensor | None:
        """Which of the scores rise above noise, bool [N]; None where that is not known."""
        error = self.scores.standard_error
        if error is None or not self.tested:
            return None
        return rising(self.row[None], error[self.q][None])[0]

    @property
    def signed(self) -> bool:
        """Whether there can be opponents."""
        return self.scores.sign != "unsigned"

    @cached_property
    def curve(self) -> Tensor | None:
        """The share of the largest scores in the sum of |score|."""
        return share_curve(self.row, not self.signed)

    def ends(self, most: int) -> tuple[list[int], list[int]]:
        """Columns of the largest scores and of the smallest below 0, outermost first; unsigned: of the largest."""
        order = torch.argsort(self.row, descending=True, stable=True)
        first, last = order[:most], order.flip(0)[:most]
        if not self.signed:
            return first.tolist(), []
        return first[self.row[first] > 0].tolist(), last[self.row[last] < 0].tolist()

    def scale(self, columns: Sequence[int]) -> Scale:
        """One scale for the scores of these columns and their intervals."""
        values = self.row[columns]
        if self.half is None:
            return Scale.of(values.tolist())
        half = self.half[columns]
        return Scale.of([*(values - half).tolist(), *(values + half).tolist()])

    def entry(self, n: int, scale: Scale, *details: str) -> Entry:
        """Column n with its score."""
        score = self.row[n].item()
        interval = None if self.half is None else (score - self.half[n].item(), score + self.half[n].item())
        return Entry(
            column=n,
            name=self.scores.examples[n],
            details=details,
            score=scale.number(score),
            interval="" if interval is None else " to ".join(map(scale.number, interval)),
            bar=self._bar(n, scale, interval),
        )

    def _bar(self, n: int, scale: Scale, interval: tuple[float, float] | None) -> Markup:
        """The bar of column n; empty for distances, where larger is closer and a bar from 0 would mislead."""
        if not self.signed and bool((self.row < 0).any()):
            return Markup("")
        if self.rises is None:
            return interval_bar(scale, self.row[n].item(), interval, "" if interval is None else "untested")
        rises = bool(self.rises[n])
        label = f"{'above' if rises else 'within'} Monte Carlo noise"
        return interval_bar(scale, self.row[n].item(), interval, "" if rises else "within", label)


def sizes_of_units(scores: Scores) -> dict[str, int]:
    """Number of examples of every unit."""
    sizes: dict[str, int] = {}
    for units in scores.units:
        for unit in dict.fromkeys(units):
            sizes[unit] = sizes.get(unit, 0) + 1
    return sizes
