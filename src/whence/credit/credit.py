"""Credit: the shares of contributors in what a model does, how sure they are, and what is owed to nobody."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whence import artefacts
from whence.credit.game import Game
from whence.credit.leftovers import UNITS
from whence.errors import ArtefactError, DataError, NotFiniteError

if TYPE_CHECKING:
    from whence.notebook import Plot

KIND = "credit"
#: Share of the resamples inside an interval.
LEVEL = 0.95
#: The file of the values that shares were computed from.
GAME = "game.safetensors"


@dataclass(frozen=True)
class Explained:
    """A behaviour that is shared out.

    Attributes:
        name: Its name, such as `diversity` or `fit 0/3`.
        title: In words.
        unit: Of v and of the shares, such as `bits`.
        picture: The query that it is about; None where it is about the model.
        none: v(∅), the behaviour without anybody; NaN where it wasn't measured.
        all: v of everybody; NaN where it wasn't measured.
    """

    name: str
    title: str
    unit: str
    picture: str | None
    none: float
    all: float


@dataclass(frozen=True, eq=False, repr=False)
class Credit:
    """Shares of U contributors in B behaviours.

    Attributes:
        estimator: Name of the estimator.
        efficient: Whether shares add up to v(all) - v(∅) by construction.
        units: Contributors, U.
        examples: Ids of the examples of each contributor, U.
        explained: The behaviours that are shared out, B.
        shares: float64 [B, U]; positive raises the behaviour.
        replicates: Shares from resamples of the measured values, float32 [R, B, U]; None where nothing was repeated,
            so that no interval is known.
        how: Notes for people: `values` (how a coalition's model was made), `interval` (what the interval covers),
            `null` (what v(∅) is), and others.

    Example:
        >>> explained = Explained("diversity", "Diversity", "bits", None, none=0.0, all=3.0)
        >>> credit = Credit("leave-one-out", False, ("a", "b"), (("1",), ("2",)), (explained,),
        ...                 np.array([[1.0, 1.5]]), None, {})
        >>> credit.remainder.tolist(), credit.low
        ([0.5], None)
    """

    estimator: str
    efficient: bool
    units: tuple[str, ...]
    examples: tuple[tuple[str, ...], ...]
    explained: tuple[Explained, ...]
    shares: np.ndarray
    replicates: np.ndarray | None
    how: dict[str, str]

    def __post_init__(self) -> None:
        """Check that shapes fit each other, or raise DataError, and that shares are finite, or raise NotFiniteError."""
        shape = (len(self.explained), len(self.units))
        shapes = [self.shares.shape] + ([] if self.replicates is None else [self.replicates.shape[1:]])
        if set(shapes) != {shape} or len(self.examples) != shape[1]:
            raise DataError(f"Shares of {shape[0]} behaviours and {shape[1]} contributors don't fit: {shapes}.")
        if not np.isfinite(self.shares).all() or not (self.replicates is None or np.isfinite(self.replicates).all()):
            raise NotFiniteError("A share is not finite.")

    def __repr__(self) -> str:
        behaviours = ", ".join(one.name for one in self.explained[:3]) + (", ..." if len(self.explained) > 3 else "")
        return f"Credit({self.estimator}: {len(self.units):,} contributors, {behaviours})"

    @property
    def none(self) -> np.ndarray:
        """The value without anybody, v(∅), of every behaviour, float64 [B]."""
        return np.array([one.none for one in self.explained])

    @property
    def all(self) -> np.ndarray:
        """The value v of everybody, float64 [B]."""
        return np.array([one.all for one in self.explained])

    @property
    def remainder(self) -> np.ndarray:
        """The rest that no contributor has, v(all) - v(∅) - Σ shares, float64 [B]; NaN where v wasn't measured."""
        remainder: np.ndarray = self.all - self.none - self.shares.sum(1)
        return remainder

    @cached_property
    def low(self) -> np.ndarray | None:
        """Lower ends of the 95% intervals, float64 [B, U]; None where none are known."""
        return None if self.replicates is None else np.quantile(self.replicates, (1 - LEVEL) / 2, axis=0)

    @cached_property
    def high(self) -> np.ndarray | None:
        """Upper ends of the 95% intervals."""
        return None if self.replicates is None else np.quantile(self.replicates, (1 + LEVEL) / 2, axis=0)

    def index_of(self, behaviour: str) -> int:
        """Return the row of a behaviour by its name, or raise DataError if there is none."""
        names = [one.name for one in self.explained]
        if behaviour not in names:
            raise DataError(f"Nothing called {behaviour!r} was shared out here; there is {', '.join(names[:8])}.")
        return names.index(behaviour)

    def write(self, path: Path, inputs: dict[str, Any], made: dict[str, Any], game: Game | None = None) -> None:
        """Write it as an artefact with tables as Parquet and CSV; one that is there already is left as it is.

        `inputs` are fingerprints of what it was made from; `made` says how, with ``estimator`` and ``efficient``; the
        game, from which it was computed, is for `read_game`.
        """

        def build(part: Path) -> dict[str, Any]:
            table = self.table()
            artefacts.write_table(part / "shares.parquet", table)
            artefacts.write_csv(part / "shares.csv", table)
            totals = {"remainder": self.remainder.tolist()}
            rows = [asdict(one) for one in self.explained]
            columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
            artefacts.write_table(part / "totals.parquet", columns | totals)
            artefacts.write_csv(part / "totals.csv", columns | totals)
            artefacts.write_table(part / UNITS, {"unit": list(self.units), "examples": list(self.examples)})
            tensors = {"shares": artefacts.to_tensor(self.shares)}
            if self.replicates is not None:
                tensors["replicates"] = artefacts.to_tensor(self.replicates).float()
            artefacts.write_tensors(part / "shares.safetensors", tensors)
            if game is not None:
                artefacts.write_tensors(part / GAME, game.tensors())
            return {"how": self.how}

        artefacts.ensure(path, KIND, inputs=inputs, made=made, build=build)

    def table(self) -> dict[str, list[Any]]:
        """Return one row for each behaviour and contributor, as columns."""
        low, high = self.low, self.high
        rows = [(b, u) for b in range(len(self.explained)) for u in range(len(self.units))]
        return {
            "behaviour": [self.explained[b].name for b, _ in rows],
            "unit": [self.units[u] for _, u in rows],
            "share": [float(self.shares[b, u]) for b, u in rows],
            "low": [None if low is None else float(low[b, u]) for b, u in rows],
            "high": [None if high is None else float(high[b, u]) for b, u in rows],
            "measured_in": [self.explained[b].unit for b, _ in rows],
            "examples": [len(self.examples[u]) for _, u in rows],
        }

    def plot(self, behaviour: str | None = None) -> Plot:
        """Return a plot of the largest shares in a behaviour, with their intervals; by default in the first one.

        Raises:
            DataError: There is no such behaviour.
        """
        from whence.credit.credit_plot import plot_credit

        return plot_credit(self, behaviour)

    def _repr_html_(self) -> str:
        from whence.credit.credit_plot import credit_html

        return credit_html(self)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Credit:
        """Return what `write` wrote, checked by hash.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        manifest = artefacts.read_verified(path, KIND)
        totals, units = artefacts.read_table(path / "totals.parquet"), artefacts.read_table(path / UNITS)
        arrays = artefacts.read_arrays(path / "shares.safetensors")
        names = ("name", "title", "unit", "picture", "none", "all")
        try:
            return cls(
                manifest.made["estimator"],
                manifest.made["efficient"],
                tuple(units["unit"]),
                tuple(map(tuple, units["examples"])),
                tuple(Explained(*row) for row in zip(*(totals[name] for name in names), strict=True)),
                arrays["shares"],
                arrays.get("replicates"),
                dict(manifest.facts["how"]),
            )
        except (KeyError, TypeError, DataError) as error:
            raise ArtefactError(f"{path} is damaged: {error}") from None
