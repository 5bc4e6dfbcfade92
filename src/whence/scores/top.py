"""The training examples with the largest scores for one query, as a small table."""

from __future__ import annotations

from collections.abc import Sequence

from whence import notebook
from whence.scores.pictures import ScorePictures


class TopScores(list[tuple[str, float]]):
    """Pairs of id and score, best first, with a table of them for people.

    Attributes:
        title: What the table is of.
        errors: Standard error of every score; None where there are none.
        pictures: The pictures that are known.

    Example:
        >>> TopScores([("b", 3.0), ("c", 2.0)], "query 0/3", (0.5, 0.25))
        query 0/3
          1  b      3  ± 0.5
          2  c      2  ± 0.25
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, float]],
        title: str,
        errors: Sequence[float] | None = None,
        pictures: ScorePictures | None = None,
    ) -> None:
        super().__init__(pairs)
        self.title, self.errors, self.pictures = title, errors, pictures

    def __repr__(self) -> str:
        names = [notebook.shortened(name) for name, _ in self]
        width, values = max(map(len, names), default=0), [f"{value:.4g}" for _, value in self]
        longest = max(map(len, values), default=0)
        lines = [
            f"{rank:3}  {name:{width}}  {value:>{longest + 4}}{error and f'  ± {error}'}"
            for rank, (name, value, error) in enumerate(zip(names, values, self._errors(), strict=True), 1)
        ]
        return "\n".join([self.title, *lines])

    def _errors(self) -> list[str]:
        return [f"{error:.2g}" for error in self.errors] if self.errors is not None else [""] * len(self)

    def _repr_html_(self) -> str:
        pictures = self.pictures or ScorePictures()
        cells = [
            notebook.picture(pictures.examples.get(name), f"{rank}. {name}", f"{value:.4g}{error and f' ± {error}'}")
            for rank, ((name, value), error) in enumerate(zip(self, self._errors(), strict=True), 1)
        ]
        return notebook.gallery(self.title, cells)
