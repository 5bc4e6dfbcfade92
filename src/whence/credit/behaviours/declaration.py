"""A behaviour: a number, or several, that say what a model does, from a look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from whence.credit.context import Context
from whence.credit.looks import Look, Need
from whence.errors import DataError, NotFiniteError

#: From a look to v, float64 [B].
Values = Callable[[Look], np.ndarray]
#: Name, title and, where it is about one picture, the query.
Row = tuple[str, str, str | None]


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a model does, as v: larger is more of it. For losses and distances v is minus the number.

    Attributes:
        name: As it is asked for.
        title: In words.
        unit: Of v.
        about: Whether it is of a model or of one picture; the latter gives one v for every query that it can answer.
        needs: What of a look it is computed from.
        make: From the context to the function that gives v, float64 [B], of a look.
        rows: From the context to the rows of v, where a model's are several; None for one.

    Example:
        >>> brightness = Behaviour("brightness", "Mean pixel", "grey levels", "model", frozenset({"pictures"}),
        ...                        lambda context: lambda look: np.array([look.pictures.mean()]))
        >>> brightness.about
        'model'
    """

    name: str
    title: str
    unit: str
    about: Literal["model", "picture"]
    needs: frozenset[Need]
    make: Callable[[Context], Values]
    rows: Callable[[Context], list[Row]] | None = None

    def explained(self, context: Context) -> list[Row]:
        """Return (name, title, query) of every v; the query is None where v is of the model.

        Raises:
            DataError: The context lacks what the behaviour needs.
        """
        self._require(context)
        if self.rows is not None:
            return self.rows(context)
        if self.about == "model":
            return [(self.name, self.title, None)]
        return [(f"{self.name} {query}", f"{self.title} (picture {query})", query) for query in self._asked(context)]

    def prepare(self, context: Context) -> Values:
        """Return the function from a look to v, float64 [B], in the order of `explained`.

        What is fitted (clusters, a classifier, neighbourhoods) is fitted here, once.

        Raises:
            DataError: The context lacks what the behaviour needs; or, when the function is called, the look does.
            NotFiniteError: When the function is called: a value is not finite.
        """
        count = len(self.explained(context))
        values = self.make(context)
        expected = {
            "pictures": len(context.names),
            "held_out": len(context.held_out) if context.held_out is not None else 0,
            "losses": len(context.drawn),
            "again": len(context.again),
        }

        def checked(look: Look) -> np.ndarray:
            for need in sorted(self.needs):
                if len(getattr(look, need)) != expected[need]:
                    given = len(getattr(look, need))
                    raise DataError(
                        f"{self.name!r} needs {expected[need]} {need} of every model; this look has {given}."
                    )
            found = np.asarray(values(look), np.float64)
            if found.shape != (count,):
                raise DataError(f"{self.name!r} gave {found.shape} numbers, expected {count}.")
            if not np.isfinite(found).all():
                raise NotFiniteError(f"{self.name!r} of a model is not finite: {found.tolist()[:4]}.")
            return found

        return checked

    def _asked(self, context: Context) -> tuple[str, ...]:
        if "again" in self.needs or context.queries is None:
            return context.again
        return context.queries.ids

    def _require(self, context: Context) -> None:
        if "pictures" in self.needs and not context.names:
            raise DataError(f"{self.name!r} is measured on drawn pictures; none are to be drawn.")
        if "held_out" in self.needs and context.held_out is None:
            raise DataError(f"{self.name!r} is measured on held-out pictures; give some that training never saw.")
        if self.about == "picture" and context.queries is None:
            raise DataError(f"{self.name!r} is about single pictures; name the queries that are asked about.")
        if "again" in self.needs and not context.again:
            raise DataError(
                f"{self.name!r} compares a picture with what other models draw from its noise; none of the "
                f"{len(context.drawn)} queries was drawn by the model. Ask about SEED/INDEX, or use 'fit'."
            )
