"""An ensemble as a collection: pictures, exact losses and landscapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.ensemble import Ensemble
from whence.ensemble.influence import Influence, conclusion
from whence.ensemble.landscape import Landscape, landscape_path
from whence.ensemble.losses import Losses
from whence.explore.collection import Entry
from whence.explore.ensemble_pictures import EnsemblePictures
from whence.explore.reading import Mention, Reading, Row, Verdict, ranked
from whence.explore.request_error import UnknownNameError
from whence.explore.training import Training
from whence.explore.upload import Uploads
from whence.report.ensemble.landscape_card import middle_range

LOSSES, LANDSCAPE = "losses", "landscape"
#: Pictures whose effects are kept in memory.
CACHED = 256
MEANINGS = {
    LOSSES: "The effect is how much the loss of the picture rises without the unit, against as many members without it "
    "in particular; above 0, the unit pulled the ensemble towards the picture.",
    LANDSCAPE: "The effect is how far the picture moves when it is drawn again, from the same noise, without the unit.",
}


@dataclass(eq=False)
class EnsembleCollection:
    """An ensemble, which also draws and measures on demand."""

    ensemble: Ensemble
    training: Training
    uploads: Uploads
    command: str = ""
    _pictures: EnsemblePictures = field(init=False)

    def __post_init__(self) -> None:
        self._pictures = EnsemblePictures(self.ensemble)
        self._cache: dict[tuple[str, str], Effects] = {}

    @classmethod
    def open(cls, path: Path) -> EnsembleCollection:
        """Return the ensemble in a folder, checked by hash."""
        ensemble = Ensemble.open(path)
        artefacts.read_verified(path / "data", "dataset")
        return cls(ensemble, Training.of(ensemble.data), Uploads(ensemble.data.size))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.ensemble.path

    def entries(self) -> Mapping[str, Entry]:
        """Return the pictures that it drew, then those that were measured."""
        self._pictures.refresh()
        return {name: place.entry for name, place in self._pictures.places.items()}

    def pixels(self, name: str) -> np.ndarray | None:
        """Return a picture."""
        self._pictures.refresh()
        return self._pictures.places[name].pixels

    def reading_titles(self, name: str) -> Mapping[str, str]:
        """Return the titles of the readings of a picture: exact losses, then its landscape."""
        self._pictures.refresh()
        titles = {}
        if name in self._pictures.losses:
            titles[LOSSES] = f"Exact losses over {self._pictures.losses[name].draws:,} draws"
        place = self._pictures.places.get(name)
        if place is not None and place.entry.drawn and self._landscape(name) is not None:
            titles[LANDSCAPE] = "Landscape: the picture drawn again without each unit"
        return titles

    def reading(self, name: str, key: str) -> Reading:
        """Return the exact losses or the landscape of a picture."""
        titles = self.reading_titles(name)
        if key not in titles:
            raise UnknownNameError("reading of this picture")
        effects = self._effects(name, key)
        influence = effects.influence
        placebos = f"{len(influence.placebos):,} placebos"
        return Reading(
            key=key,
            title=titles[key],
            meaning=f"{MEANINGS[key]} Placebos are code words that no unit has; there are {placebos}.",
            answer=conclusion(influence, "increase" if key == LOSSES else "distance"),
            of="unit",
            effect="Rise of the loss" if key == LOSSES else "Distance",
            rows=tuple(effects.row(u) for u in influence.order),
            signed=key == LOSSES,
            band=middle_range(influence.placebos) if len(influence.placebos) else None,
        )

    def mentions(self, unit: str | None, image: str | None) -> Sequence[Mention]:
        """Return the effects of a unit on all pictures that have a reading; an image has those of its units."""
        units = [unit] if unit is not None else list(self.training.units_of(image or ""))
        found = []
        for name in self.entries():
            for key, title in self.reading_titles(name).items():
                effects = self._effects(name, key)
                own = [effects.columns[one] for one in units if one in effects.columns]
                count = len(effects.columns)
                found += [Mention(name, key, title, effects.row(u), effects.places[u], count) for u in own]
        return ranked(found)

    def _effects(self, name: str, key: str) -> Effects:
        """The effects on a picture; those of some pictures are kept."""
        measured = self._pictures.losses[name] if key == LOSSES else self._landscape(name)
        assert measured is not None
        place = (measured.manifest.fingerprint, name)
        if place not in self._cache:
            if len(self._cache) >= CACHED:
                self._cache.pop(next(iter(self._cache)))
            influence = measured.influence_on(name) if isinstance(measured, Losses) else measured.influence()
            self._cache[place] = Effects(influence)
        return self._cache[place]

    def _landscape(self, name: str) -> Landscape | None:
        """The landscape of a picture that this ensemble drew; None where there is none."""
        path = landscape_path(self.ensemble, name)
        if not (path / artefacts.MANIFEST).exists():
            return None
        landscape = _open_landscape(path, (path / artefacts.MANIFEST).stat().st_mtime_ns)
        return landscape if landscape.manifest.inputs["ensemble"] == self.ensemble.manifest.fingerprint else None


@lru_cache(maxsize=256)
def _open_landscape(path: Path, _written: int) -> Landscape:
    return Landscape.open(path)


@dataclass(frozen=True, eq=False)
class Effects:
    """The effects of all units on a picture, as rows."""

    influence: Influence

    @cached_property
    def columns(self) -> dict[str, int]:
        """The position of every unit."""
        return {unit: u for u, unit in enumerate(self.influence.units)}

    @cached_property
    def places(self) -> dict[int, int]:
        """The place of every position, 1 for the largest effect."""
        return {u: place for place, u in enumerate(self.influence.order, start=1)}

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(self.influence.influential)

    def row(self, u: int) -> Row:
        """The effect of the unit at a position."""
        unit, able = self.influence.units[u], self.influence.threshold is not None
        verdict: Verdict = "above" if unit in self._named else "within" if able else "unknown"
        label = {"above": "above placebos", "within": "within placebos"}.get(verdict, "too few placebos to tell")
        chances = [float(p[u]) for p in (self.influence.p_values, self.influence.adjusted_p_values)]
        return Row(unit, float(self.influence.effects[u]), verdict, label, None, *chances)
