"""An encoded ensemble on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.model import DiffusionModel
from whence.engine import device
from whence.ensemble.codebook import Codebook
from whence.errors import ArtefactError


@dataclass(frozen=True)
class Ensemble:
    """A whole ensemble.

    Attributes:
        path: Its run directory.
        manifest: What it says of itself; its fingerprint covers every member.
        codebook: Which member saw which unit.
    """

    path: Path
    manifest: Manifest
    codebook: Codebook

    @classmethod
    def open(cls, path: str | Path) -> Ensemble:
        """Return an ensemble; every member's weights are checked by hash before they are used.

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

    @property
    def config(self) -> Config:
        """The settings that it was trained with."""
        return Config(**self.manifest.made["config"])

    @cached_property
    def data(self) -> Dataset:
        """The training examples."""
        return read(self.path / "data")

    @cached_property
    def schedule(self) -> DiffusionModel:
        """The first member, for what all members share: noise schedule, prediction type and size."""
        return DiffusionModel.load(member_path(self.path, 0))

    def networks(self, members: Iterable[int]) -> dict[int, nn.Module]:
        """The networks of some members, by member, on the device where they run."""
        return {m: DiffusionModel.load(member_path(self.path, m)).network.to(device()) for m in sorted(set(members))}


def member_path(path: Path, member: int) -> Path:
    """Where a member is."""
    return path / member_name(member)


def member_name(member: int) -> str:
    """Path of a member inside its ensemble."""
    return f"members/{member:02d}"


def damaged_members(path: Path, manifest: Manifest) -> dict[int, str]:
    """Members that are missing or not what the ensemble was sealed with, and what is wrong with them."""
    found: dict[int, str] = {}
    for member in range(manifest.made["members"]):
        try:
            artefacts.require_part(path, manifest, member_name(member), "model")
            artefacts.read_verified(member_path(path, member), "model")
        except ArtefactError as error:
            found[member] = str(error)
    return found
