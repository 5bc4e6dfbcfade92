"""The pictures of an ensemble: those that it drew, and those whose exact losses were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence.artefacts import MANIFEST, of_kind
from whence.ensemble import Ensemble
from whence.ensemble.drawing import Combine
from whence.ensemble.losses import Losses
from whence.errors import join_names
from whence.explore.collection import Entry
from whence.images import to_pixels
from whence.report.ensemble import sample_sets


@dataclass(frozen=True, eq=False)
class Place:
    """A picture, and what the members denoise of it."""

    entry: Entry
    ensemble: Ensemble
    values: Tensor  # the picture, or its latents, float32 [C, H, W]
    picture: Tensor | None = None  # the picture, float32 [C, H, W] in [-1, 1]; None: to be decoded from the values
    combine: Combine | None = None  # how members drew it; None where they did not

    @cached_property
    def pixels(self) -> np.ndarray:
        """The picture, uint8 [C, H, W]."""
        if self.picture is not None:
            return to_pixels(self.picture)
        decoded: np.ndarray = self.ensemble.reference_model.codec.decode(self.values[None])[0]
        return decoded


@dataclass(eq=False)
class EnsemblePictures:
    """The pictures of an ensemble and their losses; what was written since the last look is read anew."""

    ensemble: Ensemble
    places: dict[str, Place] = field(default_factory=dict)  # by name, in the order of the first page
    losses: dict[str, Losses] = field(default_factory=dict)  # the measurement with most draws, by name
    _seen: dict[Path, int] | None = None  # folders that were read, and when they were written

    def refresh(self) -> None:
        """Read samples and losses again if some were written since the last time."""
        folders = {kind: of_kind(self.ensemble.path / kind, kind) for kind in ("samples", "losses")}
        seen = {path: (path / MANIFEST).stat().st_mtime_ns for paths in folders.values() for path in paths}
        if seen == self._seen:
            return
        places, best = dict(self._drawn()), dict[str, Losses]()
        for path in folders["losses"]:
            losses = Losses.open(path, self.ensemble.codebook)
            foreign = losses.manifest.inputs["ensemble"] != self.ensemble.manifest.fingerprint
            if not foreign and losses.units == self.ensemble.codebook.units:  # not of some units together
                self._add(losses, places, best)
        self.places, self.losses, self._seen = places, best, seen

    def _drawn(self) -> Iterator[tuple[str, Place]]:
        """The pictures of all members by name, and those of opt-outs, whose names say what is left out."""
        members = self.ensemble.codebook.members
        for samples in sample_sets(self.ensemble):
            without = f" without {join_names(samples.without)}" if samples.without else ""
            origin = f"drawn{without}" if without else f"drawn by all {members} members"
            captions = samples.captions or ("",) * len(samples.names)
            rows = zip(samples.names, captions, samples.examples, samples.pictures, strict=True)
            for name, caption, values, picture in rows:
                entry = Entry(name + without, caption, origin, drawn=not without)
                yield entry.name, Place(entry, self.ensemble, values, picture, samples.drawing.combine)

    def _add(self, losses: Losses, places: dict[str, Place], best: dict[str, Losses]) -> None:
        """Note the losses of pictures that are there, and add measured pictures of other names."""
        for name, values in zip(losses.queries, losses.examples.tensor, strict=True):
            if name not in places:
                places[name] = Place(Entry(name, origin="measured by exact losses"), self.ensemble, values)
            elif places[name].combine not in (None, losses.combine) or not torch.equal(places[name].values, values):
                continue  # another picture of the same name, or other members than those that drew it
            if name not in best or best[name].draws < losses.draws:
                best[name] = losses
