"""The ends of a ranking: examples or units, each with its score in numbers and as a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from markupsafe import Markup
from torch import Tensor

from whence.report.scores.bars import Scale, bar
from whence.report.scores.shares import share_curve
from whence.scores.scores import Scores
from whence.scores.significance import half_width, rising


@dataclass(frozen=True)
class Entry:
    """One example or unit with its score.

    Attributes:
        column: Its column among the scores.
        name: Its id.
        details: Lines to write below.
        score: The score in words.
        interval: Its 90% interval in words; empty where there is none.
        bar: Both drawn; empty where a bar would mean nothing.
    """

    column: int
    name: str
    details: tuple[str, ...]
    score: str
    interval: str
    bar: Markup


@dataclass(frozen=True, eq=False)
class Ranking:
    """The scores of one query by one method.

    Attributes:
        scores: Scores of the method.
        q: Row of the query.
        tested: Whether it is asked which of them rise above Monte Carlo noise.
    """

    scores: Scores
    q: int
    tested: bool = True

    @cached_property
    def row(self) -> Tensor:
        """The scores, float64 [N]."""
        return self.scores.scores[self.q].double()

    @cached_property
    def half(self) -> Tensor | None:
        """How far their 90% intervals reach to each side, float64 [N]; None without standard errors."""
        error = self.scores.standard_error
        return None if error is None else half_width(error[self.q])

    @cached_property
    def rises(self) -> Tensor | None:
        """Which of them rise above noise, bool [N]; None where that is not known."""
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
        """What share the largest of them hold."""
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
        score, half = self.row[n].item(), None if self.half is None else self.half[n].item()
        rises = None if self.rises is None else bool(self.rises[n])
        return Entry(
            column=n,
            name=self.scores.examples[n],
            details=details,
            score=scale.number(score),
            interval="" if half is None else f"{scale.number(score - half)} to {scale.number(score + half)}",
            bar=Markup("") if self._distances else bar(scale, score, half, rises),
        )

    @cached_property
    def _distances(self) -> bool:
        """Whether larger is closer and a bar from 0 would show the contrary."""
        return not self.signed and bool((self.row < 0).any())


def sizes_of_units(scores: Scores) -> dict[str, int]:
    """Number of examples of every unit."""
    sizes: dict[str, int] = {}
    for own in scores.units:
        for unit in dict.fromkeys(own):
            sizes[unit] = sizes.get(unit, 0) + 1
    return sizes
