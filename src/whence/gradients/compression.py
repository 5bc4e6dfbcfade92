"""Compression: what is kept of every layer's gradient.

    two-sided    P_oᵀ ∇W P_i for every linear layer, convolution and embedding; Pᵀ g for every normalisation
    dense        Σ over layers of Pᵀ vec(g), P [p, width]: the slow reference
    none         the gradient itself: its inner products are the exact Gram matrix

The entries of every P are independent with mean 0 and variance 1/k for k columns, so that E[P Pᵀ] = I and inner
products of features are unbiased:

    E⟨P_oᵀ G P_i, P_oᵀ H P_i⟩ = ⟨G, H⟩

A matrix that would be square is the identity instead, which adds no error. The matrices are a pure function of (seed,
layer name), so features of training examples and of queries that were made apart fit together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from whence.config import Count, Settings
from whence.diffusion.draws import bits, keys, normals
from whence.errors import ConfigError
from whence.gradients.coverage import Coverage, Layer
from whence.gradients.layers import ConvolutionLayer, ProductLayer
from whence.gradients.maps import DenseMap, LayerMap, Maps, NormMap, PatchMap, ProductMap
from whence.gradients.norms import NormLayer
from whence.gradients.widths import sides, widths

_STREAM = "projection"


class Compression(Settings):
    """What is kept of a gradient."""

    kind: Literal["two-sided", "dense", "none"] = Field(
        "two-sided",
        description="two-sided: both sides of each layer projected before they meet; dense: a projection of the whole "
        "gradient, slow; none: the gradient itself.",
    )
    width: Count = Field(4096, description="Number of features, p, at most; all parameters with none.")
    entries: Literal["rademacher", "gaussian"] = Field("rademacher", description="Entries of the random matrices.")
    seed: int = Field(0, ge=0, description="Seed of the random matrices.")

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """Return P [rows, columns] of a name, float32, with E[P Pᵀ] = I.

        Example:
            >>> Compression().matrix("conv_in", 2, 4).abs().tolist()
            [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
        """
        key, index = keys(_STREAM, self.seed, [name]), np.zeros(1, np.int64)
        if self.entries == "gaussian":
            values = normals(key, index, (rows, columns))[0]
        else:
            words = bits(key, index, -(-rows * columns // 32))[0]
            signs = (words[:, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
            values = torch.from_numpy(1 - 2 * signs.reshape(-1)[: rows * columns].astype(np.float32))
        return torch.div(values.reshape(rows, columns), columns**0.5)


def maps(
    cover: Coverage,
    compression: Compression,
    shares: Mapping[str, float] | None = None,
    device: torch.device | None = None,
) -> Maps:
    """Make the map of every layer.

    Args:
        cover: The layers.
        compression: What is kept.
        shares: What the widths of the layers are proportional to, by name; equal if not given. See `calibrate.py`.
        device: Where the matrices live.

    Returns:
        Maps in the order of the layers.

    Raises:
        ConfigError: The width is too small for one feature per layer.
    """
    names = list(cover.layers)
    if compression.kind == "dense":
        shared = slice(0, compression.width)
        dense = {
            name: (
                DenseMap(_whole(layer, device), compression.matrix(name, layer.size, shared.stop).to(device)),
                shared,
            )
            for name, layer in cover.layers.items()
        }
        return Maps(dict(dense), compression.width)
    if compression.kind == "none":
        made: list[LayerMap] = [_whole(layer, device) for layer in cover.layers.values()]
    else:
        if compression.width < len(names):
            raise ConfigError(f"{len(names)} layers need as many features at least; width is {compression.width}.")
        split = _split(cover, compression.width, shares)
        made = [
            _small(cover.layers[name], width, compression, device) for name, width in zip(names, split, strict=True)
        ]
    ends = np.cumsum([part.width for part in made]).tolist()
    places = [slice(end - part.width, end) for end, part in zip(ends, made, strict=True)]
    return Maps(dict(zip(names, zip(made, places, strict=True), strict=True)), ends[-1])


def _split(cover: Coverage, width: int, shares: Mapping[str, float] | None) -> list[int]:
    """Features of each layer; what the layers' two sides leave over is given out once more, if it then fits."""
    layers = list(cover.layers.values())
    share = [1.0 if shares is None else shares[layer.name] for layer in layers]
    first = widths([layer.size for layer in layers], share, width)
    spare = width - sum(_used(layer, part) for layer, part in zip(layers, first, strict=True))
    more = widths([layer.size for layer in layers], share, width + max(spare, 0))
    fits = sum(_used(layer, part) for layer, part in zip(layers, more, strict=True)) <= width
    return more if fits else first


def _used(layer: Layer, width: int) -> int:
    """How many of `width` features a layer uses."""
    if isinstance(layer, NormLayer) or width >= layer.size:
        return min(width, layer.size)
    return math.prod(sides(layer.outputs, layer.inputs, width))


def _whole(layer: Layer, device: torch.device | None) -> ProductMap | NormMap:
    if isinstance(layer, NormLayer):
        return NormMap(layer, None)
    return ProductMap(layer, None, torch.eye(layer.inputs, device=device).expand(layer.groups, -1, -1))


def _small(layer: Layer, width: int, compression: Compression, device: torch.device | None) -> LayerMap:
    """The two-sided map of a layer to at most `width` features."""
    name = layer.name
    if width >= layer.size:
        if isinstance(layer, ConvolutionLayer) and layer.has_cotangent_patches and layer.outputs <= layer.channels:
            return PatchMap(layer)
        return _whole(layer, device)
    if isinstance(layer, NormLayer):
        return NormMap(layer, compression.matrix(name, layer.size, width).to(device))
    k_o, k_i = sides(layer.outputs, layer.inputs, width)
    outputs = None if k_o == layer.outputs else compression.matrix(f"{name} outputs", layer.outputs, k_o).to(device)
    if k_i == layer.inputs and (layer.groups == 1 or outputs is None):
        return ProductMap(layer, outputs, torch.eye(k_i, device=device).expand(layer.groups, -1, -1))
    squeeze = _squeeze(layer, k_i, compression)
    if squeeze is not None and isinstance(layer, ConvolutionLayer):
        inputs = compression.matrix(f"{name} inputs", squeeze.shape[1] * layer.taps + int(layer.bias), k_i)
        return ProductMap(layer, outputs, inputs[None].to(device), squeeze.to(device))
    inputs = compression.matrix(f"{name} inputs", layer.groups * layer.inputs, k_i)
    return ProductMap(layer, outputs, inputs.reshape(layer.groups, layer.inputs, k_i).to(device))


def _squeeze(layer: ProductLayer, k_i: int, compression: Compression) -> Tensor | None:
    """P_c [C, m] for a convolution of at least 2 m channels: m is 8 for k_i up to 8, else 16."""
    if not isinstance(layer, ConvolutionLayer) or layer.groups > 1 or layer.taps == 1:
        return None
    m = 8 if k_i <= 8 else 16
    return compression.matrix(f"{layer.name} channels", layer.channels, m) if layer.channels >= 2 * m else None
