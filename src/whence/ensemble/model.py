"""An encoded ensemble on disk, its members in memory, and what they and their mean predict.

    mean(x_n, t_n) = Σ_m w_nm f_m(x_n, t_n),   w_nm = 1/|S_n| for the members m in S_n, else 0

A member evaluates all rows that include it in canonical batches: all of one size, the last one padded with zeros. The
result of a row depends on that size, but not on the rows beside it. So an ablation that is drawn together with a
thousand others is bit for bit the ablation drawn alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.denoiser import NO_CONDITIONS, predict
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine
from whence.ensemble.codebook import Codebook
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
    @artefacts.reader
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
        numbers = range(self.codebook.members) if members is None else sorted(set(members))
        models = {member: DiffusionModel.load(member_path(self.path, member)) for member in numbers}
        return Members({member: model.network.to(engine.device) for member, model in models.items()})


@lru_cache(maxsize=4)
def _open_once(path: str, _fingerprint: str) -> Ensemble:
    return Ensemble.open(path)


@dataclass(frozen=True)
class Members:
    """Members in memory, on the device where they run; today each of them is a whole network."""

    networks: Mapping[int, nn.Module]

    def predict(
        self, member: int, x: Tensor, t: Tensor, batch_size: int, conditions: Mapping[str, Tensor] = NO_CONDITIONS
    ) -> Tensor:
        """Return the outputs of one member for x_t float32 [n, ...] and t [n], in canonical batches of so many rows."""
        return predict(self.networks[member], x, t, batch_size, conditions)


@dataclass(frozen=True)
class MeanPrediction:
    """Mean prediction in float64, with members of its own for every row; members are added in ascending order.

    Attributes:
        members: The members in memory.
        sets: The members S_n of every row.
        batch_size: Rows in a canonical batch.
        conditions: Further arguments of the networks by name, one row for each set.
    """

    members: Members
    sets: Sequence[Sequence[int]]
    batch_size: int
    conditions: Mapping[str, Tensor] = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Mean outputs float64 [n, ...] for x_t float32 [n, ...] and t [n]."""
        total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
        for member in sorted(self.members.networks):
            rows = torch.tensor([n for n, members in enumerate(self.sets) if member in members], dtype=torch.long)
            if len(rows):
                rows = rows.to(x.device)
                conditions = {name: tensor.to(x.device)[rows] for name, tensor in self.conditions.items()}
                total[rows] += self.members.predict(member, x[rows], t[rows], self.batch_size, conditions)
        counts = torch.tensor([len(members) for members in self.sets], dtype=torch.float64, device=x.device)
        return total / counts.reshape(-1, *[1] * (x.dim() - 1))


def member_name(member: int) -> str:
    """Path of a member inside its ensemble."""
    return f"members/{member:02d}"


def member_path(ensemble: Path, member: int) -> Path:
    """Path of a member of the ensemble in a run directory."""
    return ensemble / member_name(member)


def damaged_members(ensemble: Path, manifest: Manifest) -> dict[int, str]:
    """Hash all members; return those that are missing or changed since the ensemble was sealed, and the problems."""
    problems: dict[int, str] = {}
    for member in range(manifest.made["members"]):
        try:
            artefacts.require_part(ensemble, manifest, member_name(member), "model")
            artefacts.read_verified(member_path(ensemble, member), "model")
        except ArtefactError as error:
            problems[member] = str(error)
    return problems
