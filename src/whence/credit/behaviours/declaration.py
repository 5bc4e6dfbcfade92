"""A behaviour: a number, or several, that say what a model does, computed from its measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from whence.data import Dataset
from whence.errors import DataError, NotFiniteError

if TYPE_CHECKING:
    from whence.retraining.measurement import Measurement, MeasurementPlan, Part

#: From the measurement of a model to v, float64 [B].
Values = Callable[["Measurement"], np.ndarray]
#: Name, title and, where it is about one picture, the query.
Row = tuple[str, str, str | None]


@dataclass(frozen=True, eq=False)
class Context:
    """What behaviours are computed from beside the measurement of a model.

    Attributes:
        data: The training examples.
        plan: What is measured of every model.
        reference: The pictures of the plan's names as the full model draws them, uint8 [K, C, H, W].
    """

    data: Dataset
    plan: MeasurementPlan
    reference: np.ndarray

    def __post_init__(self) -> None:
        """Check that the sizes of all pictures fit, or raise DataError."""
        size, expected = self.data.size, (len(self.plan.names), *self.data.size)
        if self.reference.dtype != np.uint8 or self.reference.shape != expected:
            reference = f"{self.reference.dtype} {self.reference.shape}"
            raise DataError(f"Reference pictures are {reference}, expected uint8 {expected}.")
        for role, pictures in (("Held-out pictures", self.plan.held_out), ("Queries", self.plan.queries)):
            if pictures is not None and pictures.size != size:
                raise DataError(f"{role} are of the size {pictures.size}; the training examples are {size}.")

    @property
    def drawn_queries(self) -> np.ndarray:
        """The queries that the full model drew, uint8 [G, C, H, W]."""
        if self.plan.queries is None:
            return np.zeros((0, *self.data.size), np.uint8)
        return np.asarray(self.plan.queries.pixels[self.plan.drawn])


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a model does, as a number v: larger is more of it. For losses and distances v is minus the number.

    Attributes:
        name: The name by which it is requested.
        title: In words.
        unit: Unit of v.
        about: Whether v is of a model or of one picture; the latter gives one v for every query that it can answer.
        needs: The parts of a measurement that it is computed from.
        make: From the context to the function that computes v, float64 [B], from a measurement.
        rows: From the context to the rows of v, where a behaviour of a model has several; None for one.
        meaning: What v means, in a sentence or two for everybody; empty where nothing is known.

    Example:
        >>> brightness = Behaviour("brightness", "Mean pixel", "grey levels", "model", frozenset({"pictures"}),
        ...                        lambda context: lambda measurement: np.array([measurement.pictures.mean()]))
        >>> brightness.about
        'model'
    """

    name: str
    title: str
    unit: str
    about: Literal["model", "picture"]
    needs: frozenset[Part]
    make: Callable[[Context], Values]
    rows: Callable[[Context], list[Row]] | None = None
    meaning: str = ""

    def list_rows(self, context: Context) -> list[Row]:
        """Return (name, title, query) of every v; the query is None where v is of the model.

        Raises:
            DataError: The context lacks what the behaviour needs.
        """
        self._require(context)
        if self.rows is not None:
            return self.rows(context)
        if self.about == "model":
            return [(self.name, self.title, None)]
        return [(f"{self.name} {query}", f"{self.title} (picture {query})", query) for query in self._queries(context)]

    def prepare(self, context: Context) -> Values:
        """Return the function from a measurement to v, float64 [B], in the order of `list_rows`.

        What is fitted (clusters, a classifier, neighbourhoods) is fitted here, once.

        Raises:
            DataError: The context lacks what the behaviour needs; or, when the function is called, the measurement.
            NotFiniteError: When the function is called: a value is not finite.
        """
        count, sizes = len(self.list_rows(context)), context.plan.sizes
        values = self.make(context)

        def checked(measurement: Measurement) -> np.ndarray:
            for need in sorted(self.needs):
                rows = len(getattr(measurement, need))
                if rows != sizes[need]:
                    raise DataError(
                        f"{self.name!r} needs {sizes[need]} {need} of every model; this measurement has {rows}."
                    )
            v = np.asarray(values(measurement), np.float64)
            if v.shape != (count,):
                raise DataError(f"{self.name!r} gave {v.shape} numbers, expected {count}.")
            if not np.isfinite(v).all():
                raise NotFiniteError(f"{self.name!r} of a model is not finite: {v.tolist()[:4]}.")
            return v

        return checked

    def _queries(self, context: Context) -> tuple[str, ...]:
        if "redrawn" in self.needs or context.plan.queries is None:
            return context.plan.redrawn
        return context.plan.queries.ids

    def _require(self, context: Context) -> None:
        if "pictures" in self.needs and not context.plan.names:
            raise DataError(f"{self.name!r} is measured on drawn pictures; none are to be drawn.")
        if "held_out" in self.needs and context.plan.held_out is None:
            raise DataError(f"{self.name!r} is measured on held-out pictures; give some that training never saw.")
        if self.about == "picture" and context.plan.queries is None:
            raise DataError(f"{self.name!r} is about single pictures; name the queries that are asked about.")
        if "redrawn" in self.needs and not context.plan.redrawn:
            raise DataError(
                f"{self.name!r} compares a picture with what other models draw from its noise; none of the "
                f"{len(context.plan.drawn)} queries was drawn by the model. Ask about SEED/INDEX, or use 'fit'."
            )
