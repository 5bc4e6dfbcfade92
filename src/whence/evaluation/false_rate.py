"""The result of a false attribution test: trials in ``rows.parquet``, the rate and its interval in ``result.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.seeds import derived_seed
from whence.statistics.statistic import Interval, paired_bootstrap


@dataclass(frozen=True)
class Trial:
    """The units that an attributor names for one sample, before and after removals.

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
        trials: One for each sample.
        seed: Seed of the controls and of the bootstrap.
        path: Where the result is kept; None for one that was not written.

    Example:
        >>> trials = (Trial("0/0", "u", "u", ("r",), ("u",)), Trial("0/1", "v", "u", ("r",), ("v",)))
        >>> result = FalseAttribution("mine", trials, seed=0)
        >>> result.fa, result.control, result.rate
        (0.5, 1.0, 0.5)
    """

    attributor: str
    trials: tuple[Trial, ...]
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
        return np.array([[trial.stayed, trial.control] for trial in self.trials])

    def write(self, root: Path, inputs: Mapping[str, Any], made: Mapping[str, Any]) -> FalseAttribution:
        """Write the result below `root`, unless it is there, and return it with its path, a digest of the result."""
        rows = [vars(trial) for trial in self.trials]
        said = artefacts.digest([list(row.values()) for row in rows])
        made = {"attributor": self.attributor, "seed": self.seed, "said": said, **made}
        path = root / artefacts.digest([inputs, made])[:12]

        def build(part: Path) -> None:
            numbers = {"attributor": self.attributor, "samples": len(rows), "fa": self.fa, "control": self.control}
            numbers |= {"rate": self.rate, "interval": self.interval and vars(self.interval)}
            artefacts.write_table(part / "rows.parquet", {name: [row[name] for row in rows] for name in rows[0]})
            artefacts.write_json(part / "result.json", numbers)

        artefacts.ensure(path, "false attribution", inputs=inputs, made=made, build=build)
        return replace(self, path=path)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> FalseAttribution:
        """Return a result from disk; every file is checked by its hash."""
        made = artefacts.read_verified(path, "false attribution").made
        table = artefacts.read_table(path / "rows.parquet")
        trials = [Trial(s, u, a, tuple(r), tuple(b)) for s, u, a, r, b in zip(*table.values(), strict=True)]
        return cls(made["attributor"], tuple(trials), made["seed"], path)


def _rates(values: np.ndarray) -> np.ndarray:
    """FA / B of resamples [b, n, 2]; NaN where B = 0."""
    fa, control = values.mean(axis=1).T
    rates: np.ndarray = np.divide(fa, control, out=np.full(len(fa), np.nan), where=control > 0)
    return rates
