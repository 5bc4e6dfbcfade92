"""A card for every query, with the ends of the ranking by each method: examples and units with their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from markupsafe import Markup
from torch import Tensor

from whence.report.picture import LARGE, Picture, data_uri
from whence.report.plot import Scale, interval_bar
from whence.report.scores.plots import share_curve, share_sentence
from whence.report.scores.score_folder import ScoreFolder, units_tested
from whence.report.text import plural, shorten, unit_phrase
from whence.scores.jackknife import half_width, rising
from whence.scores.scores import Scores

#: Examples and units shown at each end of the scores of a query.
SHOWN, UNITS = 8, 5
#: Methods of a query that are unfolded.
OPEN = 3


@dataclass(frozen=True)
class Entry:
    """One example or unit with its score."""

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
    count: int | None = None  # number of all examples, where only the ends of their ranking are there

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
        return rising(self.row[None], error[self.q][None], count=self.count)[0]

    @property
    def signed(self) -> bool:
        """Whether there can be opponents."""
        return self.scores.sign != "unsigned"

    def ends(self, most: int) -> tuple[list[int], list[int]]:
        """Columns of the largest scores and of the smallest below 0, outermost first; unsigned: of the largest."""
        order = torch.argsort(self.row, descending=True, stable=True)
        first, last = order[:most], order.flip(0)[:most]
        if not self.signed:
            return first.tolist(), []
        return first[self.row[first] > 0].tolist(), last[self.row[last] < 0].tolist()

    def scale(self, columns: Sequence[int]) -> Scale:
        """One scale for the scores of these columns and their intervals."""
        values, half = self.row[columns], 0.0 if self.half is None else self.half[columns]
        return Scale.of([*(values - half).tolist(), *(values + half).tolist()])

    def entry(self, n: int, scale: Scale, *details: str) -> Entry:
        """Column n with its score."""
        score = self.row[n].item()
        interval = None if self.half is None else (score - self.half[n].item(), score + self.half[n].item())
        return Entry(
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
        score = self.row[n].item()
        if self.rises is None:
            return interval_bar(scale, score, interval, "" if interval is None else "untested")
        if self.rises[n]:
            return interval_bar(scale, score, interval, label="above Monte Carlo noise")
        return interval_bar(scale, score, interval, "within", "within Monte Carlo noise")


@dataclass(frozen=True)
class MethodResult:
    """The scores of a query by one method."""

    method: str  # the method
    label: str  # the outcome in a few words
    rises: int | None  # how many examples rise above Monte Carlo noise; None without a standard error
    sentences: tuple[str, ...]  # the outcome, and how concentrated the scores are
    power: int  # the scores are written in units of 10 to this power
    proponents: tuple[Entry, ...]  # examples with the largest scores
    opponents: tuple[Entry, ...]  # those with the smallest scores below 0, from the smallest
    signed: bool  # whether there could be opponents
    units: tuple[Entry, ...]  # units with the largest scores and, of a method with a sign, the smallest ones below 0
    units_power: int  # as `power`, for the units
    combined: str  # how the score of a unit is made of those of its examples: "sum" or "largest"


@dataclass(frozen=True)
class QueryCard:
    """A query with the scores of all methods."""

    anchor: str
    name: str
    picture: Picture
    results: tuple[MethodResult, ...]

    @property
    def nothing(self) -> bool:
        """Whether no method that has standard errors finds an example above noise."""
        return bool(self._rises) and not any(self._rises)

    @property
    def label(self) -> str:
        """The outcome over methods, in a few words; empty where none has standard errors."""
        counts = self._rises
        if not counts:
            return ""
        if len(counts) == 1:
            return f"{plural(counts[0], 'example')} above noise" if counts[0] else "Nothing above noise"
        some = sum(map(bool, counts))
        if not some:
            return "Nothing above noise by any method"
        return f"Something above noise by {some} of {len(counts)} methods"

    @property
    def _rises(self) -> list[int]:
        """How many examples rise above noise, for each method that has standard errors."""
        return [result.rises for result in self.results if result.rises is not None]


def query_cards(folder: ScoreFolder) -> Iterator[QueryCard]:
    """A card for every query, one at a time."""
    units = {name: scores.by_unit() for name, scores in folder.scores.items()} if folder.grouped else {}
    sizes = Counter(unit for own in folder.any.units for unit in dict.fromkeys(own))  # examples of every unit
    for q, query in enumerate(folder.any.queries):
        yield QueryCard(
            anchor=f"query-{q}",
            name=query,
            picture=Picture(data_uri(folder.pictures.query(query), LARGE), f"Query {query}", f"Query {query}"),
            results=tuple(
                method_result(
                    name,
                    Ranking(scores, q),
                    unit_entries(Ranking(units[name], q, units_tested(scores)), sizes) if units else ((), 0),
                )
                for name, scores in folder.scores.items()
            ),
        )


def method_result(name: str, ranking: Ranking, units: tuple[tuple[Entry, ...], int] = ((), 0)) -> MethodResult:
    """The scores of a query by one method; `units` are those of its units, with the power of ten of their numbers."""
    first, last = ranking.ends(SHOWN)
    scale, scores = ranking.scale([*first, *last]), ranking.scores
    curve = share_curve(ranking.row, not ranking.signed) if ranking.count is None else None
    entries = {n: ranking.entry(n, scale, *_unit(scores, n)) for n in (*first, *last)}
    return MethodResult(
        method=name,
        label=_label(ranking),
        rises=None if ranking.rises is None else int(ranking.rises.sum()),
        sentences=tuple(filter(None, (_outcome(ranking), share_sentence(curve, len(scores.examples))))),
        power=scale.power,
        proponents=tuple(entries[n] for n in first),
        opponents=tuple(entries[n] for n in last),
        signed=ranking.signed,
        units=units[0],
        units_power=units[1],
        combined="sum" if scores.combine == "sum" else "largest",
    )


def unit_entries(ranking: Ranking, sizes: Mapping[str, int]) -> tuple[tuple[Entry, ...], int]:
    """The units at the ends of a ranking, and the power that their numbers are in units of."""
    first, last = ranking.ends(UNITS)
    columns = [*first, *reversed(last)]
    scale, names = ranking.scale(columns), ranking.scores.examples
    return tuple(ranking.entry(u, scale, plural(sizes[names[u]], "example")) for u in columns), scale.power


def _unit(scores: Scores, n: int) -> tuple[str, ...]:
    """The units of an example; empty where its only unit is itself."""
    units = scores.units[n]
    return () if units == (scores.examples[n],) else (shorten(unit_phrase(units)),)


def _label(ranking: Ranking) -> str:
    if ranking.rises is None:
        return "No Monte Carlo error"
    rows = {"proponent": ranking.rises & (ranking.row > 0), "opponent": ranking.rises & (ranking.row < 0)}
    counts = [plural(count, noun) for noun, above in rows.items() if (count := int(above.sum()))]
    return f"{' and '.join(counts)} above noise" if counts else "Nothing above noise"


def _outcome(ranking: Ranking) -> str:
    if ranking.rises is None:
        return "This method has no standard errors, so its scores have no interval."
    draws, count = ranking.scores.draws, int(ranking.rises.sum())
    drawn = plural(draws, "draw") if draws else "these draws"
    if not count:
        return f"Nothing rises above Monte Carlo noise for this query with {drawn}; more draws would be needed."
    verb = "rises" if count == 1 else "rise"
    of = plural(len(ranking.row), "example")
    kept = "" if ranking.count is None else f" that were kept, out of {ranking.count:,},"
    return f"{count:,} of {of}{kept} {verb} above Monte Carlo noise with {drawn}."
