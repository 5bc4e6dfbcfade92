"""The members of an ensemble: where they are, whether they are whole, and what they and their mean predict.

    mean(x_n, t_n) = Σ_m w_nm f_m(x_n, t_n),   w_nm = 1/|S_n| for the members m in S_n, else 0

A member evaluates all rows that include it in canonical batches: all of one size, the last one padded with zeros. The
result of a row depends on that size, but not on the rows beside it. So an ablation that is drawn together with a
thousand others is bit for bit the ablation drawn alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from whence import artefacts
from whence.artefacts import Manifest
from whence.diffusion.denoiser import NO_CONDITIONS, predict
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine
from whence.errors import ArtefactError


@dataclass(frozen=True)
class Members:
    """Members in memory. Today each of them is a whole network.

    Attributes:
        networks: The networks by member, on the device where they run.

    Example:
        >>> class Scale(nn.Module):
        ...     def __init__(self, factor):
        ...         super().__init__()
        ...         self.factor = factor
        ...     def forward(self, x, t):
        ...         return self.factor * x
        >>> members = Members({0: Scale(1.0), 1: Scale(3.0)})
        >>> members.predict(1, torch.ones(2, 1), torch.zeros(2), batch_size=4).tolist()
        [[3.0], [3.0]]
    """

    networks: Mapping[int, nn.Module]

    @classmethod
    def open(cls, ensemble: Path, members: Iterable[int], engine: Engine = DEFAULT) -> Members:
        """Return some members of the ensemble in a run directory, on the engine's device."""
        models = {member: DiffusionModel.load(member_path(ensemble, member)) for member in sorted(set(members))}
        return cls({member: model.network.to(engine.device) for member, model in models.items()})

    @property
    def parameter_bytes(self) -> int:
        """Memory that the float32 parameters take."""
        return sum(4 * p.numel() for network in self.networks.values() for p in network.parameters())

    def predict(
        self, member: int, x: Tensor, t: Tensor, batch_size: int, conditions: Mapping[str, Tensor] = NO_CONDITIONS
    ) -> Tensor:
        """Return the outputs of one member, [n, ...].

        Args:
            member: The member.
            x: Noised examples x_t, float32 [n, ...].
            t: Their timesteps, [n].
            batch_size: Rows in a canonical batch.
            conditions: Further arguments of the network by name, n rows each.
        """
        return predict(self.networks[member], x, t, batch_size, conditions)


@dataclass(frozen=True)
class MeanPrediction:
    """Mean prediction in float64, with members of its own for every row; members are added in ascending order.

    Attributes:
        members: The members in memory.
        sets: The members S_n of every row.
        batch_size: Rows in a canonical batch.
        conditions: Further arguments of the networks by name, one row for each set.

    Example:
        >>> class Scale(nn.Module):
        ...     def __init__(self, factor):
        ...         super().__init__()
        ...         self.factor = factor
        ...     def forward(self, x, t):
        ...         return self.factor * x
        >>> mean = MeanPrediction(Members({0: Scale(1.0), 1: Scale(3.0)}), [(0, 1), (1,)], batch_size=4)
        >>> mean(torch.ones(2, 1), torch.zeros(2)).flatten().tolist()
        [2.0, 3.0]
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
