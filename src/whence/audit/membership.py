"""The audit of membership: how well a model fits given pictures, compared with pictures that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whence import artefacts
from whence.artefacts import Artefact
from whence.audit.membership_test import LEVEL, MembershipTest


@dataclass(frozen=True)
class MembershipAudit(Artefact):
    """Statistics of pictures and of controls under a model; larger where the model fits a picture better.

    Of a model the statistic is minus the mean loss ℓ at draws with little noise. Of a recorded run with checkpoints it
    is log(ℓ_first / ℓ), ℓ_first at the first checkpoint: how much training has lowered the loss since, which hardly
    depends on how hard the picture is. Of an ensemble it is the largest, over
    all units, of (loss without the unit - loss without as many members at random), in standard deviations of
    placebos: a picture of the training data is fitted better by the members that saw its unit.
    """

    kind = "membership audit"

    @cached_property
    def pictures(self) -> dict[str, list[Any]]:
        """Ids and statistics of the pictures in question; of an ensemble also their chances by placebos."""
        return artefacts.read_table(self.path / "pictures.parquet")

    @cached_property
    def controls(self) -> dict[str, list[Any]]:
        """Ids and statistics of the controls; empty where there are none."""
        return artefacts.read_table(self.path / "controls.parquet")

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the pictures."""
        return list(self.manifest.facts["notes"])

    @property
    def placebos(self) -> PlaceboChances | None:
        """Chances by code words of nobody; None for a model that is no ensemble."""
        facts: Mapping[str, Any] | None = self.manifest.facts.get("placebos")
        if facts is None:
            return None
        chances = np.array(self.pictures["placebo_chance"], np.float64)
        return PlaceboChances(chances, facts["together"], facts["smallest"])

    def test(self, level: float = LEVEL) -> MembershipTest | None:
        """Return the test against the controls; None where there are none.

        Raises:
            ConfigError: The level is not between 0 and 1, or there is one control alone.
        """
        if not self.controls["statistic"]:
            return None
        statistics, controls = (np.array(one["statistic"], np.float64) for one in (self.pictures, self.controls))
        return MembershipTest.of(statistics, controls, level=level, seed=int(self.manifest.made["seed"]))


@dataclass(frozen=True, eq=False)
class PlaceboChances:
    """Chances that code words of nobody fit as well, if no unit matters for a picture; they need no controls.

    Attributes:
        each: Of each picture, float64 [K].
        together: Of all pictures, if they are of one unit.
        smallest: The smallest chance that so many units and placebos allow.
    """

    each: np.ndarray
    together: float
    smallest: float
