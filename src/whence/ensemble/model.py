"""An encoded ensemble on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine
from whence.ensemble.codebook import Codebook
from whence.ensemble.members import Members, damaged_members, member_path
from whence.errors import ArtefactError, MismatchError


@dataclass(frozen=True)
class Ensemble:
    """A whole ensemble.

    Attributes:
        path: Its run directory.
        manifest: Its manifest; the fingerprint covers every member.
        codebook: Which member saw which unit.
    """

    path: Path
    manifest: Manifest
    codebook: Codebook

    @classmethod
    def open(cls, path: str | Path) -> Ensemble:
        """Return an ensemble; the hash of every file is checked before any weights are used.

        Raises:
            ArtefactError: It is missing, unfinished or damaged; the message names the member.
        """
        path = Path(path)
        manifest = artefacts.read_verified(path, "ensemble")
        artefacts.require_part(path, manifest, "data", "dataset")
        artefacts.require_part(path, manifest, "codebook", "codebook")
        damaged = damaged_members(path, manifest)
        if damaged:
            member, problem = next(iter(damaged.items()))
            raise ArtefactError(
                f"{len(damaged)} of {manifest.made['members']} members can't be used; member {member}: {problem} "
                "Run the command that trained the ensemble again: it trains only these members anew."
            )
        return cls(path, manifest, Codebook.read(path / "codebook"))

    @classmethod
    def open_unchanged(cls, path: str | Path, fingerprint: str) -> Ensemble:
        """Return the ensemble that a task was made for. A process checks its files by hash once, not for every task.

        Raises:
            ArtefactError: It is missing, unfinished or damaged.
            MismatchError: It has another fingerprint.
        """
        if artefacts.read_manifest(Path(path), "ensemble").fingerprint != fingerprint:
            raise MismatchError(f"The ensemble {path} changed while it was used. Run the command again.")
        return _open_once(str(path), fingerprint)

    @property
    def config(self) -> Config:
        """The settings that it was trained with."""
        return Config(**self.manifest.made["config"])

    @cached_property
    def data(self) -> Dataset:
        """The training examples."""
        return read(self.path / "data")

    @cached_property
    def reference_model(self) -> DiffusionModel:
        """The first member. Its process and the size of its pictures are those of every member."""
        return DiffusionModel.load(member_path(self.path, 0))

    def open_members(self, members: Iterable[int] | None = None, engine: Engine = DEFAULT) -> Members:
        """Load some members, by default all, on the engine's device."""
        return Members.open(self.path, range(self.codebook.members) if members is None else members, engine)


@lru_cache(maxsize=4)
def _open_once(path: str, _fingerprint: str) -> Ensemble:
    return Ensemble.open(path)
