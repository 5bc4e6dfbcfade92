"""Which channels of a ``UNet2DModel`` must stay or go together, and which of them to keep.

A residual sum adds channel k of one layer to channel k of another; a skip connection hands channels on to a later
block, where they lie behind the block's own. So the channels of a network fall into streams: those of a residual
stream, those inside a residual block, those inside an attention. A stream keeps the same channels in all its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn


def kept_channels(network: UNet2DModel, small: UNet2DModel) -> dict[tuple[str, int], Tensor]:
    """Return what to keep of each weight of `network` so that it has the shape of that of the narrower `small`.

    In every stream the blocks of channels with the largest energy are kept, in their order:

        energy of a channel = Σ over the weights that write, normalise or read it of w²

    the square of the L2 norm of all of them together. A block is a pair of neighbouring normalisation groups (one group
    where their number is odd or 2), in an attention a head; of a head, the channels with the largest energy are kept.

    Args:
        network: A network of plain and attention blocks, with G groups.
        small: One of the same blocks with fewer channels and groups, and perhaps fewer or narrower heads.

    Returns:
        By name of a weight and dimension, the channels to keep, int64, ascending inside each stream. Weights and
        dimensions that are not in it stay whole.

    Example:
        >>> shape = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "add_attention": False}
        >>> wide = UNet2DModel(8, 1, 1, **shape, block_out_channels=(8,), norm_num_groups=4)
        >>> small = UNet2DModel(8, 1, 1, **shape, block_out_channels=(4,), norm_num_groups=2)
        >>> with torch.no_grad():
        ...     wide.conv_out.weight[:, :4] = 1e-3 * wide.conv_out.weight[:, 4:]
        ...     wide.conv_norm_out.weight[:4] = 0
        >>> kept_channels(wide, small)["conv_out.weight", 1]
        tensor([4, 5, 6, 7])
    """
    along = _Layout(network, small).along
    for (name, dim), streams in along.items():
        weight = network.get_parameter(name).detach().double()
        energy = weight.square().transpose(0, dim).flatten(1).sum(1) if weight.dim() > 1 else weight.square()
        for stream, part in zip(streams, energy.split([stream.width for stream in streams]), strict=True):
            stream.energy = stream.energy + part
    return {place: _index(streams) for place, streams in along.items()}


def block_size(groups: int) -> int:
    """Neighbouring groups that are dropped as one: a pair, since a normalisation behind a skip connection spans it."""
    return 2 if groups % 2 == 0 and groups > 2 else 1


@dataclass(eq=False)
class _Stream:
    """`width` channels in `blocks` equal blocks, of which `keep` stay with their best `size` channels."""

    width: int
    blocks: int
    keep: int
    size: int
    energy: Tensor | float = 0.0

    def kept(self) -> Tensor:
        energy = torch.as_tensor(self.energy).reshape(self.blocks, -1)
        best = _largest(energy.sum(1), self.keep)
        inside = torch.stack([_largest(energy[block], self.size) for block in best])
        return (best[:, None] * energy.shape[1] + inside).flatten()


def _largest(values: Tensor, count: int) -> Tensor:
    """Places of the `count` largest, ascending; of equal ones the first."""
    return values.argsort(descending=True, stable=True)[:count].sort().values


def _index(streams: tuple[_Stream, ...]) -> Tensor:
    """The channels kept where streams lie behind each other."""
    starts = torch.tensor([0, *(stream.width for stream in streams[:-1])]).cumsum(0)
    return torch.cat([start + stream.kept() for start, stream in zip(starts, streams, strict=True)])


class _Layout:
    """The streams along every dimension of every weight, found by following the network's forward pass.

    Attributes:
        along: By name of a weight and dimension, the streams that lie behind each other there.
    """

    def __init__(self, network: UNet2DModel, small: UNet2DModel) -> None:
        self.along: dict[tuple[str, int], tuple[_Stream, ...]] = {}
        self._small = small
        self._groups, self._keep = network.config["norm_num_groups"], small.config["norm_num_groups"]
        self._names = {module: name for name, module in network.named_modules()}
        self._follow(network)

    def _follow(self, network: UNet2DModel) -> None:
        stream = self._layer(network.conv_in, (), self._stream(network.conv_in.out_channels))
        skips = [stream]
        for block in network.down_blocks:
            for resnet, attention in _steps(block):
                stream = self._step(resnet, attention, stream)
                skips.append(stream)
            for sampler in block.downsamplers or ():
                stream = self._layer(sampler.conv, (stream,), self._stream(stream.width))
                skips.append(stream)
        for resnet, attention in _steps(network.mid_block):
            stream = self._step(resnet, attention, stream)
        for block in network.up_blocks:
            for resnet, attention in _steps(block):
                stream = self._step(resnet, attention, stream, skips.pop())
            for sampler in block.upsamplers or ():
                stream = self._layer(sampler.conv, (stream,), self._stream(stream.width))
        self._rows(network.conv_norm_out, (stream,))
        self._layer(network.conv_out, (stream,), None)

    def _step(self, resnet: Any, attention: Any, *inputs: _Stream) -> _Stream:
        """A residual block and the attention behind it, if any; returns the stream that they write."""
        hidden = self._stream(resnet.conv1.out_channels)
        shortcut = resnet.conv_shortcut
        (out,) = inputs if shortcut is None else (self._stream(resnet.conv2.out_channels),)
        self._rows(resnet.norm1, inputs)
        self._layer(resnet.conv1, inputs, hidden)
        self._layer(resnet.time_emb_proj, (), hidden)
        self._rows(resnet.norm2, (hidden,))
        self._layer(resnet.conv2, (hidden,), out)
        if shortcut is not None:
            self._layer(shortcut, inputs, out)
        if attention is not None:
            narrow: Any = self._small.get_submodule(self._names[attention])
            heads = _Stream(attention.inner_dim, attention.heads, narrow.heads, narrow.inner_dim // narrow.heads)
            self._rows(attention.group_norm, (out,))
            for layer in (attention.to_q, attention.to_k, attention.to_v):
                self._layer(layer, (out,), heads)
            self._layer(attention.to_out[0], (heads,), out)
        return out

    def _stream(self, width: int) -> _Stream:
        """A new stream of `width` channels, whose blocks are whole groups."""
        size = block_size(self._groups)
        blocks = self._groups // size
        return _Stream(width, blocks, self._keep // size, width // blocks)

    def _layer(self, layer: nn.Module, inputs: tuple[_Stream, ...], output: Any) -> Any:
        """Note the streams that a convolution or linear layer reads and writes; returns the latter."""
        if inputs:
            self.along[f"{self._names[layer]}.weight", 1] = inputs
        if output is not None:
            self._rows(layer, (output,))
        return output

    def _rows(self, layer: nn.Module, streams: tuple[_Stream, ...]) -> None:
        """Note the streams along the first dimension of a layer's weight and bias."""
        for name, _ in layer.named_parameters(recurse=False):
            self.along[f"{self._names[layer]}.{name}", 0] = streams


def _steps(block: Any) -> list[tuple[Any, Any]]:
    """The residual blocks of a block, each with the attention behind it or None."""
    return [] if block is None else list(zip_longest(block.resnets, getattr(block, "attentions", ())))
