"""Layers of one base whose rows carry adapters of their own: of a member of an ensemble, or a mean of several.

    one member per row      y_n = W x_n + b + s B_m (A_m x_n),   m the member of row n
    a mean of ΔW            y_n = W x_n + b + s Σ_m w_nm B_m (A_m x_n),   w_nm the weight of member m in row n

The first is two products of batches of matrices. The second is A of all members stacked on top of each other, and B of
all members side by side, with the weights in between. Both give the adapters' share of a layer for all rows at once, so
the base is in memory once and is evaluated once for each row, whatever the number of members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whence.diffusion.adapters.layers import match_layers
from whence.diffusion.adapters.low_rank import LowRank
from whence.errors import ModelError


@dataclass(frozen=True, eq=False)
class Stack:
    """The low-rank weights of one layer by all members, [M + 1, ...]; the last ones are zero, which is the base alone.

    Attributes:
        A: [M + 1, r, I], or [M + 1, r, C, h, w] of a convolution.
        B: [M + 1, O, r], with the scale in it.
    """

    A: Tensor
    B: Tensor

    @classmethod
    def empty(cls, members: int, like: LowRank, device: torch.device) -> Stack:
        """Return a stack for so many members of the shapes of one of them; all are zero."""
        b = like.B.flatten(1)
        return cls(*(side.new_zeros(members + 1, *side.shape, device=device) for side in (like.A, b)))

    def put(self, place: int, own: LowRank) -> None:
        """Put the weights of a member in its place; all members have one rank."""
        self.A[place], self.B[place] = own.A, own.scale * own.B.flatten(1)


class MemberLayer(nn.Module):
    """A linear layer or a convolution of the base, with the adapters that `choose` gave to its rows; none at first."""

    def __init__(self, base_layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.stack: Stack | None = None
        self.members = torch.zeros(0, dtype=torch.int64)
        self.weights: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The output of the base layer, and of the adapters of each row."""
        y: Tensor = self.base_layer(x)
        if self.stack is None:
            return y
        change = self._of_members(x, self.stack) if self.weights is None else self._of_mean(x, self.stack, self.weights)
        return y + change

    def _of_members(self, x: Tensor, stack: Stack) -> Tensor:
        """S B_m (A_m x) of each row, by its member."""
        a, b = stack.A[self.members], stack.B[self.members]
        if isinstance(self.base_layer, nn.Linear):
            inner = torch.bmm(x.flatten(1, -2) if x.dim() > 2 else x[:, None], a.mT)
            return torch.bmm(inner, b.mT).reshape(*x.shape[:-1], -1)
        n, rank = a.shape[:2]
        inner = F.conv2d(x.reshape(1, -1, *x.shape[2:]), a.flatten(0, 1), groups=n, **self._how)
        height, width = inner.shape[2:]
        return torch.bmm(b, inner.reshape(n, rank, height * width)).reshape(n, -1, height, width)

    def _of_mean(self, x: Tensor, stack: Stack, weights: Tensor) -> Tensor:
        """S Σ_m w_m B_m (A_m x) of each row; members of weight 0 add nothing, whatever their weights are."""
        a, b = stack.A[:-1], stack.B[:-1]
        repeated = weights.repeat_interleave(a.shape[1], 1)
        b = b.transpose(0, 1).flatten(1)
        if isinstance(self.base_layer, nn.Linear):
            inner = F.linear(x, a.flatten(0, 1))
            return F.linear(inner * repeated.reshape(len(repeated), *[1] * (x.dim() - 2), -1), b)
        inner = F.conv2d(x, a.flatten(0, 1), **self._how)
        return F.conv2d(inner * repeated[:, :, None, None], b[:, :, None, None])

    @property
    def _how(self) -> dict[str, Any]:
        """How the convolution goes over its input."""
        base = self.base_layer
        assert isinstance(base, nn.Conv2d)
        return {"stride": base.stride, "padding": base.padding, "dilation": base.dilation}


def put_member_layers(network: nn.Module, layers: Mapping[str, LowRank]) -> dict[str, MemberLayer]:
    """Put a `MemberLayer` in the place of each layer that the adapters of members change.

    Args:
        network: The base; layers that are `MemberLayer` already stay.
        layers: The adapter of one of the members, by name of the layer.

    Returns:
        The layers, by name.

    Raises:
        ModelError: The adapter doesn't fit the base.
    """
    found: dict[str, MemberLayer] = {}
    modules = dict(network.named_modules())
    plain = {name: own for name, own in layers.items() if not isinstance(modules.get(name), MemberLayer)}
    for name in match_layers(network, plain, "The adapter of a member"):
        base = network.get_submodule(name)
        assert isinstance(base, nn.Linear | nn.Conv2d)
        if isinstance(base, nn.Conv2d) and base.padding_mode != "zeros":
            raise ModelError(f"The adapters change {name!r}, which pads with {base.padding_mode!r}; expected zeros.")
        network.set_submodule(name, MemberLayer(base))
    for name in layers:
        layer = network.get_submodule(name)
        assert isinstance(layer, MemberLayer)
        found[name] = layer
    return found
