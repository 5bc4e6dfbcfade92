"""An encoded ensemble on disk, and what the mean of its members predicts.

    mean(x_n, t_n) = Σ_m w_nm f_m(x_n, t_n),   w_nm = 1/|S_n| for the members m in S_n, else 0

Members are whole networks, or adapters on one base. The result of a row does not depend on the rows beside it
(`whence.ensemble.members`). So an ablation that is drawn together with a thousand others is bit for bit the ablation
drawn alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.adapter_run import base_of_run, require_base
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.augmentation import Augmentation
from whence.diffusion.base import Base
from whence.diffusion.conditioner import Conditioner
from whence.diffusion.encoding import FOLDER, Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine
from whence.ensemble.codebook import Codebook
from whence.ensemble.members import ALONE, AdapterMembers, Conditions, Members, NetworkMembers, pairs_of
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
        if "base" in manifest.inputs:
            artefacts.require_part(path, manifest, FOLDER, "encoding")
        damaged = damaged_members(path, manifest)
        if damaged:
            member, problem = next(iter(damaged.items()))
            raise ArtefactError(
                f"{len(damaged)} of {manifest.made['members']} members can't be used; member {member}: {problem} "
                "Run the command that trained the ensemble again: it trains only these members anew."
            )
        ensemble = cls(path, manifest, Codebook.read(path / "codebook"))
        if ensemble.base is not None:
            require_base(manifest, ensemble.base.fingerprints(ensemble.reference_model), path, ensemble.base.folder)
        return ensemble

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
    def examples(self) -> Examples:
        """The training examples as the members got them."""
        return self.encoders.encode(self.data, self.path / FOLDER, Augmentation.of(self.config.training))

    @cached_property
    def base(self) -> Base | None:
        """The base of members that are adapters; None for members that are whole networks."""
        if "base" not in self.manifest.inputs:
            return None
        return Base.of(base_of_run(self.path, self.manifest), self.config)

    @cached_property
    def reference_model(self) -> DiffusionModel:
        """The base, or the first member. Its process and the size of its pictures are those of every member."""
        return DiffusionModel.load(member_path(self.path, 0)) if self.base is None else self.base.open()

    @property
    def text(self) -> Conditioner | None:
        """What makes conditions of prompts; None for members that take none."""
        return None if self.base is None else self.base.encoders.text

    @property
    def encoders(self) -> Encoders:
        """From pictures and captions to what the members get."""
        return Encoders.of(self.reference_model)

    @property
    def picture_size(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the pictures that it draws."""
        return self.reference_model.codec.picture_size(self.reference_model.size)

    def open_members(self, members: Iterable[int] | None = None, engine: Engine = DEFAULT) -> Members:
        """Load some members, by default all, on the engine's device."""
        numbers = range(self.codebook.members) if members is None else sorted(set(members) - {ALONE})
        if self.base is None:
            models = {member: DiffusionModel.load(member_path(self.path, member)) for member in numbers}
            return NetworkMembers({member: model.network.to(engine.device) for member, model in models.items()})
        return self.open_adapters(numbers or [0], engine)

    def open_adapters(self, members: Iterable[int] | None = None, engine: Engine = DEFAULT) -> AdapterMembers:
        """Load some members that are adapters, by default all; they share the network of `reference_model`."""
        numbers = range(self.codebook.members) if members is None else tuple(members)
        network = self.reference_model.network
        return AdapterMembers.of(network, numbers, lambda member: read_adapter(self.adapter(member)), engine.device)

    def adapter(self, member: int) -> Adapter:
        """The adapter of a member, with the scale that it was trained with."""
        assert self.config.adapter is not None
        return Adapter(member_path(self.path, member), scale=self.config.adapter.scale)


def load_ensemble(path: str | Path) -> Ensemble:
    """Return the ensemble in a run directory; the hash of every file is checked before any weights are used.

    Raises:
        ArtefactError: It is missing, unfinished or damaged; the message names the member.
    """
    return Ensemble.open(path)


@lru_cache(maxsize=4)
def _open_once(path: str, _fingerprint: str) -> Ensemble:
    return Ensemble.open(path)


@dataclass(frozen=True)
class MeanPrediction:
    """Mean prediction in float64, with members of its own for every row; members are added in ascending order.

    The set (ALONE,) is that of the base of adapters, without any of them.

    Attributes:
        members: The members in memory.
        sets: The members S_n of every row.
        batch_size: Rows in a canonical batch.
        conditions: Further arguments of the networks by name, one row for each set.
    """

    members: Members
    sets: Sequence[Sequence[int]]
    batch_size: int
    conditions: Conditions = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Mean outputs float64 [n, ...] for x_t float32 [n, ...] and t [n]."""
        total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
        for members, rows, outputs in self.members.outputs(self._pairs, x, t, self.batch_size, self.conditions):
            for member in torch.unique_consecutive(members):
                own = (members == member).to(x.device)
                total[rows.to(x.device)[own]] += outputs[own]
        counts = torch.tensor([len(members) for members in self.sets], dtype=torch.float64, device=x.device)
        return total / counts.reshape(-1, *[1] * (x.dim() - 1))

    @cached_property
    def _pairs(self) -> Tensor:
        return pairs_of(self.sets)


@dataclass(frozen=True)
class MeanWeights:
    """The prediction of the base with the mean of the members' ΔW, with members of its own for every row; float64.

    Attributes:
        members: All members of the ensemble, in memory.
        sets: The members S_n of every row; (ALONE,) is the base alone.
        batch_size: Rows in a canonical batch.
        conditions: Further arguments of the network by name, one row for each set.
    """

    members: AdapterMembers
    sets: Sequence[Sequence[int]]
    batch_size: int
    conditions: Conditions = field(default_factory=dict)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Outputs float64 [n, ...] for x_t float32 [n, ...] and t [n]."""
        chosen = torch.zeros(len(self.sets), len(self.members.numbers), dtype=torch.bool)
        for row, members in enumerate(self.sets):
            chosen[row, [member for member in members if member != ALONE]] = True
        return self.members.mean_weights(chosen, x, t, self.batch_size, self.conditions).double()


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
