"""Universe files: the headers of the tar and config.json are read at once, each sheet when it is needed."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from whence.errors import ArtefactError, DataError
from whence.universe.sheets import ONEFILE, Shape, UniverseConfig, parse_config, read_sheet
from whence.universe.tar import TarEntry, list_entries, open_file

CONFIG = "config.json"
FACTUAL = "factual.png"
TRAINING_SET = "training_set.png"
_MAX_CONFIG = 2**26
_LEAVE = re.compile(r"leave_([0-9]{1,9})_(.*)\.png", re.DOTALL)
_TRAIN = re.compile(r"train_([0-9]{1,9})_([0-9]{1,9})\.png")


@dataclass(frozen=True)
class Universe:
    """A universe file: S generated pictures, and for every unit the same pictures drawn without it.

    An ArtefactError says that a sheet is missing or damaged, a DataError that there is no such unit or picture.

    Attributes:
        path: The ``.ctf`` file.
        config: The content of its ``config.json``.
        entries: The files inside by name.
        leave: Name of the sheet without a unit, by the unit's number.
        train: Name of the sheet of a unit's training images, and how many it holds, by number; empty for ONEFILE.
    """

    path: Path
    config: UniverseConfig
    entries: dict[str, TarEntry]
    leave: dict[int, str]
    train: dict[int, tuple[str, int]]

    @classmethod
    def open(cls, path: str | Path) -> Universe:
        """Return a universe file; no sheet is decoded yet.

        Raises:
            ArtefactError: It is no uncompressed tar of plain files, lacks ``config.json`` or ``factual.png``, or has a
                wrong setting or name of a sheet.
        """
        path = Path(path)
        entries = list_entries(path)
        for name in (CONFIG, FACTUAL):
            if name not in entries:
                raise ArtefactError(f"{path} is not a universe file: it has no {name}.")
        offset, size = entries[CONFIG]
        if size > _MAX_CONFIG:
            raise ArtefactError(f"{path}: {CONFIG} has {size:,} bytes; at most {_MAX_CONFIG:,} are read.")
        with open_file(path) as stream:
            stream.seek(offset)
            config = parse_config(stream.read(size), f"{path}, {CONFIG}")
        leave = {u: name for u, (name, _) in _by_unit(path, entries, "leave_", _LEAVE, config.units).items()}
        train = _by_unit(path, entries, "train_", _TRAIN, config.units)
        return cls(path, config, entries, leave, {u: (name, int(count)) for u, (name, count) in train.items()})

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Unit ids, U of them: their names if the file has them, else their numbers "0" ... "U-1"."""
        return tuple(self.config.names or map(str, range(self.config.units)))

    @property
    def missing(self) -> list[str]:
        """The units whose counterfactual pictures are not in the file."""
        return [unit for u, unit in enumerate(self.units) if u not in self.leave]

    def factuals(self) -> np.ndarray:
        """Return the pictures that all members drew, uint8 [S, C, H, W]."""
        return self._sheet(FACTUAL, self.config.tiles)

    def factual(self, k: int) -> np.ndarray:
        """Return picture k that all members drew, uint8 [C, H, W]."""
        return np.asarray(self.factuals()[self._picture(k)])

    def counterfactuals(self, unit: str) -> np.ndarray:
        """Return the pictures drawn without a unit, from the same noise: uint8 [S, C, H, W]."""
        u = self._number(unit)
        if u not in self.leave:
            raise ArtefactError(f"{self.path} has no pictures without unit {unit!a}: no member leave_{u}_....png.")
        return self._sheet(self.leave[u], self.config.tiles)

    def training(self, unit: str) -> np.ndarray:
        """Return the training images of a unit, uint8 [n, C, H, W]."""
        u = self._number(unit)
        if self.config.format == ONEFILE:
            return self._training_set[u : u + 1].copy()
        if u not in self.train:
            raise ArtefactError(f"{self.path} has no training images of unit {unit!a}: no member train_{u}_COUNT.png.")
        name, count = self.train[u]
        return self._sheet(name, self.config.training_tiles(count))

    def distances(self, k: int) -> np.ndarray:
        """Return how far picture k moves without each unit, d[u] = ‖x_k - x_{k,-u}‖₂ over pixels in [0, 1], [U].

        The first call decodes all sheets, one at a time, and keeps the distances of all pictures. Pixels have 8 bits:
        against distances of unrounded pictures, d is off by at most √(C·H·W) / 255.
        """
        return np.array(self._distances[self._picture(k)])

    def radius(self, k: int) -> float:
        """Return the counterfactual radius of picture k: its largest distance, in the same unit."""
        return float(self.distances(k).max())

    @cached_property
    def _distances(self) -> np.ndarray:
        """float64 [S, U]."""
        if self.missing:
            raise ArtefactError(
                f"{self.path} lacks the pictures without {len(self.missing):,} of {len(self.units):,} units, among "
                f"them {self.missing[0]!a}: the distances would be incomplete."
            )
        factual = self.factuals().reshape(self.config.pictures, -1).astype(np.float64)
        distances = np.empty((self.config.pictures, len(self.units)))
        for u in range(len(self.units)):
            pictures = self._sheet(self.leave[u], self.config.tiles)
            distances[:, u] = np.linalg.norm(pictures.reshape(factual.shape) - factual, axis=1) / 255
        return distances

    @cached_property
    def _training_set(self) -> np.ndarray:
        if TRAINING_SET not in self.entries:
            raise ArtefactError(f"{self.path} has no {TRAINING_SET}, where its format {ONEFILE} has training images.")
        return self._sheet(TRAINING_SET, self.config.training_tiles(self.config.units))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {unit: u for u, unit in enumerate(self.units)}

    def _number(self, unit: str) -> int:
        if unit not in self._numbers:
            close = difflib.get_close_matches(str(unit), self.units[:10_000], n=3) or self.units[:3]
            raise DataError(
                f"There is no unit {unit!a} among the {len(self.units):,} of {self.path}. "
                f"Did you mean {', '.join(map(ascii, close))}?"
            )
        return self._numbers[unit]

    def _picture(self, k: int) -> int:
        if not 0 <= k < self.config.pictures:
            raise DataError(f"{self.path} has the pictures 0 to {self.config.pictures - 1}; there is no picture {k}.")
        return k

    def _sheet(self, name: str, shape: Shape) -> np.ndarray:
        with open_file(self.path) as stream:
            stream.seek(self.entries[name].offset)
            return read_sheet(stream, self.entries[name].size, f"{self.path}, {name!a}", shape)


def _by_unit(
    path: Path, entries: dict[str, TarEntry], prefix: str, pattern: re.Pattern[str], units: int
) -> dict[int, tuple[str, str]]:
    """Name, and the part of the name after the unit, of the sheets whose names begin with `prefix`, by unit."""
    sheets: dict[int, tuple[str, str]] = {}
    for name in entries:
        if not name.startswith(prefix):
            continue
        match = pattern.fullmatch(name)
        if not match or int(match[1]) >= units:
            raise ArtefactError(f"{path} has a sheet named {name!a}, which names none of its {units:,} units.")
        u = int(match[1])
        if u in sheets:
            raise ArtefactError(f"{path} has two sheets for unit {match[1]}: {sheets[u][0]!a} and {name!a}.")
        sheets[u] = (name, match[2])
    return sheets
