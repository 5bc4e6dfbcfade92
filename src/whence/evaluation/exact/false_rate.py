"""The result of a false attribution test: what was attributed, the rate, and how sure it is.

On disk: what was said of every sample in ``rows.parquet``, the numbers in ``result.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.seeds import derived_seed
from whence.statistics.bootstrap import Interval, paired_bootstrap


@dataclass(frozen=True)
class Row:
    """What an attributor said of one sample.

    Attributes:
        sample: SEED/INDEX.
        unit: The unit that it named, u.
        after_removal: The unit that it named for the picture without u.
        controls: The units that were removed instead, each an r.
        after_controls: The units that it named for the pictures without them.
    """

    sample: str
    unit: str
    after_removal: str
    controls: tuple[str, ...]
    after_controls: tuple[str, ...]

    @property
    def stayed(self) -> float:
        """1 if the attribution stayed when its unit was removed, else 0."""
        return float(self.after_removal == self.unit)

    @property
    def control(self) -> float:
        """Share of the controls after which the attribution stayed."""
        return sum(unit == self.unit for unit in self.after_controls) / len(self.after_controls)


@dataclass(frozen=True)
class FalseAttribution:
    """False attribution rate of an attributor.

    Attributes:
        attributor: The name of its method.
        rows: What it said of every sample.
        seed: Seed of the controls and of the bootstrap.
        path: Where it is kept; None for one that was not written.

    Example:
        >>> rows = (Row("0/0", "u", "u", ("r",), ("u",)), Row("0/1", "v", "u", ("r",), ("v",)))
        >>> found = FalseAttribution("mine", rows, seed=0)
        >>> found.fa, found.control, found.rate
        (0.5, 1.0, 0.5)
    """

    attributor: str
    rows: tuple[Row, ...]
    seed: int
    path: Path | None = None

    @property
    def fa(self) -> float:
        """FA: share of the samples whose attribution stayed when its unit was removed."""
        return float(self._values[:, 0].mean())

    @property
    def control(self) -> float:
        """B: share of the samples whose attribution stayed when another unit, drawn at random, was removed."""
        return float(self._values[:, 1].mean())

    @property
    def rate(self) -> float | None:
        """FAR = FA / B; None, undefined, where the control never agrees."""
        return self.fa / self.control if self.control else None

    @cached_property
    def interval(self) -> Interval | None:
        """95% of the rate: paired bootstrap over the samples, without the resamples in which B = 0."""
        if self.rate is None:
            return None
        return paired_bootstrap(self._values, _rates, seed=derived_seed(self.seed, "bootstrap"))

    @cached_property
    def _values(self) -> np.ndarray:
        return np.array([[row.stayed, row.control] for row in self.rows])

    def write(self, root: Path, inputs: Mapping[str, Any], made: Mapping[str, Any]) -> FalseAttribution:
        """Write the result as an artefact below `root`, unless it is there; another result never gets in its way.

        Args:
            root: The directory of such results.
            inputs: Fingerprints of what it was made from.
            made: How the attributor was asked.

        Returns:
            The result, with its path.
        """
        rows = [vars(row) for row in self.rows]
        said = artefacts.digest([list(row.values()) for row in rows])
        made = {"attributor": self.attributor, "seed": self.seed, "said": said, **made}
        path = root / artefacts.digest([inputs, made])[:12]
        if artefacts.existing(path, "false attribution", inputs=inputs, made=made) is not None:
            return replace(self, path=path)
        numbers = {"attributor": self.attributor, "samples": len(rows), "fa": self.fa, "control": self.control}
        numbers |= {"rate": self.rate, "interval": self.interval and vars(self.interval)}
        with artefacts.create(path, "false attribution", inputs=inputs, made=made) as part:
            artefacts.write_table(part / "rows.parquet", {name: [row[name] for row in rows] for name in rows[0]})
            artefacts.write_json(part / "result.json", numbers)
        return replace(self, path=path)

    @classmethod
    def read(cls, path: Path) -> FalseAttribution:
        """Return a result read from disk, checking every file by hash.

        Raises:
            ArtefactError: It is missing, unfinished or damaged.
        """
        made = artefacts.read_verified(path, "false attribution").made
        table = artefacts.read_table(path / "rows.parquet")
        rows = [Row(s, u, a, tuple(r), tuple(b)) for s, u, a, r, b in zip(*table.values(), strict=True)]
        return cls(made["attributor"], tuple(rows), made["seed"], path)


def _rates(values: np.ndarray) -> np.ndarray:
    """FA / B of resamples [b, n, 2]; NaN where B = 0."""
    fa, control = values.mean(axis=1).T
    rates: np.ndarray = np.divide(fa, control, out=np.full(len(fa), np.nan), where=control > 0)
    return rates
