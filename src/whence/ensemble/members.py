"""Members in memory: whole networks, or adapters on one base.

They evaluate pairs of a member and a row in canonical batches: all of one size, the last one padded. The result of a
pair depends on that size, but not on the pairs beside it. A batch of whole networks is of one member; a batch of
adapters is of as many members as fit, because the base is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.denoiser import NO_CONDITIONS, denoise, pad
from whence.diffusion.repeated import Repeated
from whence.ensemble.member_layers import MemberLayer, Stack, put_member_layers

#: The number of the base itself among members that are adapters on it.
ALONE = -1
Conditions = Mapping[str, Tensor | Repeated]
#: The member and the row of each output, int64 [k] each, and the outputs float32 [k, ...].
Outputs = tuple[Tensor, Tensor, Tensor]


class Members(Protocol):
    """Members in memory, on the device where they run."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which members they are, ascending."""

    def outputs(
        self, pairs: Tensor, x: Tensor, t: Tensor, batch_size: int, conditions: Conditions = NO_CONDITIONS
    ) -> Iterator[Outputs]:
        """Yield the outputs of pairs (member, row), int64 [k, 2] in ascending order, batch by batch.

        x_t are float32 [n, ...] and t [n]; conditions have n rows.
        """

    def size(self, count: int) -> int:
        """Number of weights of so many members like these."""


@dataclass(frozen=True)
class NetworkMembers:
    """Members that are whole networks, by number."""

    networks: Mapping[int, nn.Module]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which members they are, ascending."""
        return tuple(sorted(self.networks))

    @torch.inference_mode()
    def outputs(
        self, pairs: Tensor, x: Tensor, t: Tensor, batch_size: int, conditions: Conditions = NO_CONDITIONS
    ) -> Iterator[Outputs]:
        """Yield the outputs of pairs in batches of one member each, padded with zeros."""
        for member in torch.unique(pairs[:, 0]).tolist():
            for rows in torch.split(pairs[pairs[:, 0] == member, 1], batch_size):
                own = {name: pad(values[rows].to(x.device), batch_size) for name, values in conditions.items()}
                at = rows.to(x.device)
                output = denoise(self.networks[member], pad(x[at], batch_size), pad(t[at], batch_size), **own)
                yield torch.full_like(rows, member), rows, output[: len(rows)]

    def size(self, count: int) -> int:
        """Number of weights of so many members like these."""
        return count * sum(p.numel() for p in next(iter(self.networks.values())).parameters())


@dataclass(frozen=True, eq=False)
class AdapterMembers:
    """Members that are adapters on one base, which is in memory once.

    Attributes:
        base: The network of the base, with a `MemberLayer` in the place of each layer that the adapters change.
        numbers: Which members they are, ascending.
        layers: These layers, by name.
        stacks: The adapters of all members by name of the layer.
    """

    base: nn.Module
    numbers: tuple[int, ...]
    layers: Mapping[str, MemberLayer]
    stacks: Mapping[str, Stack] = field(repr=False)

    @classmethod
    def of(
        cls, base: nn.Module, numbers: Sequence[int], read: Callable[[int], AdapterWeights], device: torch.device
    ) -> AdapterMembers:
        """Return members on a base, whose network is changed: it gets the layers for the adapters.

        Adapters are read one after the other, so that no more than one is in memory beside the stacks.

        Raises:
            ModelError: The adapters don't fit the base.
        """
        stacks: dict[str, Stack] = {}
        for place, member in enumerate(sorted(numbers)):
            own = read(member).network
            if not stacks:
                layers = put_member_layers(base, own)
                stacks = {name: Stack.empty(len(numbers), own[name], device) for name in layers}
            for name, stack in stacks.items():
                stack.put(place, own[name])
        return cls(base.to(device), tuple(sorted(numbers)), layers, stacks)

    def outputs(
        self, pairs: Tensor, x: Tensor, t: Tensor, batch_size: int, conditions: Conditions = NO_CONDITIONS
    ) -> Iterator[Outputs]:
        """Yield the outputs of pairs in batches of any members; the last one is padded with the base and zeros."""
        places = {member: k for k, member in enumerate((*self.numbers, ALONE))}
        for batch in torch.split(pairs, batch_size):
            members = torch.tensor([places[m] for m in batch[:, 0].tolist()] + [-1] * (batch_size - len(batch)))
            output = self._evaluate(batch[:, 1], x, t, batch_size, conditions, members=members)
            yield batch[:, 0], batch[:, 1], output

    def mean_weights(
        self, sets: Tensor, x: Tensor, t: Tensor, batch_size: int, conditions: Conditions = NO_CONDITIONS
    ) -> Tensor:
        """Return outputs float32 [n, ...] of the base with the mean of ΔW of the members of each row, bool [n, M].

        A row without members is of the base alone.
        """
        weights = sets.float() / sets.sum(1, keepdim=True).clamp(min=1)
        rows = torch.split(torch.arange(len(x)), batch_size)
        outputs = [self._evaluate(r, x, t, batch_size, conditions, weights=pad(weights[r], batch_size)) for r in rows]
        return torch.cat(outputs) if outputs else torch.zeros_like(x)

    @torch.inference_mode()
    def _evaluate(
        self, rows: Tensor, x: Tensor, t: Tensor, batch_size: int, conditions: Conditions, **choice: Tensor
    ) -> Tensor:
        own = {name: pad(values[rows].to(x.device), batch_size) for name, values in conditions.items()}
        at = rows.to(x.device)
        self._choose(**{name: value.to(x.device) for name, value in choice.items()})
        return denoise(self.base, pad(x[at], batch_size), pad(t[at], batch_size), **own)[: len(rows)]

    def _choose(self, members: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Give the rows of the next batch their members, or their weights of all members."""
        for name, layer in self.layers.items():
            layer.stack, layer.weights = self.stacks[name], weights
            layer.members = torch.zeros(0, dtype=torch.int64) if members is None else members

    def size(self, count: int) -> int:
        """Number of weights of the base, and of so many members like these."""
        base = sum(p.numel() for p in self.base.parameters())
        adapters = sum(side.numel() for stack in self.stacks.values() for side in (stack.A, stack.B))
        return base + adapters * count // (len(self.numbers) + 1)


def pairs_of(sets: Sequence[Sequence[int]]) -> Tensor:
    """Return the pairs (member, row) of the members of each row, int64 [k, 2], by member and then by row.

    Example:
        >>> pairs_of([(0, 1), (1,)]).tolist()
        [[0, 0], [1, 0], [1, 1]]
    """
    pairs = sorted((member, row) for row, members in enumerate(sets) for member in members)
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def batch_count(counts: Mapping[int, int], batch_size: int, *, on_one_base: bool) -> int:
    """Return the number of canonical batches for so many rows of each member.

    Example:
        >>> batch_count({0: 3, 1: 3}, 4, on_one_base=False), batch_count({0: 3, 1: 3}, 8, on_one_base=True)
        (2, 1)
    """
    sizes = [sum(counts.values())] if on_one_base else counts.values()
    return sum(-(-size // batch_size) for size in sizes)
