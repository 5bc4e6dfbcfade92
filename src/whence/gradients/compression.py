"""Compression: what is kept of every layer's gradient.

    two-sided    fold(∇W P_i) for every linear layer, convolution and embedding; Pᵀ g for every normalisation
    dense        Σ over layers of Pᵀ vec(g), P [p, width]: the slow reference
    none         the gradient itself: its inner products are the exact Gram matrix

Folding adds up outputs with random signs (`maps.FoldedMap`). Every P is random with E[P Pᵀ] = I, so inner products of
features are unbiased:

    E⟨fold(G P_i), fold(H P_i)⟩ = ⟨G, H⟩

Columns of a dense P are independent; the columns of the other matrices are orthogonal, which has less error. A matrix
that would be square is the identity. A convolution in groups is P_oᵀ ∇W P_i. A convolution of few outputs, whose whole
gradient costs little, is Pᵀ vec(∇W). The matrices are a pure function of (seed, layer name), so features of training
examples and of queries fit together though they are made separately.
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
from whence.diffusion.philox import bits, keys, normals
from whence.errors import ConfigError
from whence.gradients.layers import Coverage, Layer, NormLayer
from whence.gradients.maps import FEW, DenseMap, FoldedMap, LayerMap, Maps, NormMap, PatchMap, ProductMap
from whence.gradients.product_layers import ConvolutionLayer, ProductLayer
from whence.gradients.widths import sides, widths

#: Version of the mathematics from a gradient to features. Features of other versions are refused, since features of the
#: same settings would not fit together. Raise it with every change of maps, matrices, widths, readouts or groups.
VERSION = 2
_STREAM = "projection"


class Compression(Settings):
    """What is kept of a gradient."""

    kind: Literal["two-sided", "dense", "none"] = Field(
        "two-sided",
        description="two-sided: each layer's inputs projected before they meet its outputs, which are then folded; "
        "dense: a projection of the whole gradient, slow; none: the gradient itself.",
    )
    width: Count = Field(4096, description="Number of features, p, at most; all parameters with none.")
    entries: Literal["rademacher", "gaussian"] = Field(
        "rademacher", description="Entries of random matrices with independent columns."
    )
    seed: int = Field(0, ge=0, description="Seed of the random matrices.")

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """P [rows, columns] of a name, float32, with independent entries and E[P Pᵀ] = I."""
        key, index = keys(_STREAM, self.seed, [name]), np.zeros(1, np.int64)
        if self.entries == "gaussian":
            values = normals(key, index, (rows, columns))[0]
        else:
            words = bits(key, index, -(-rows * columns // 32))[0]
            signs = (words[:, None] >> np.arange(32)) & 1
            values = torch.from_numpy(1 - 2 * signs.reshape(-1)[: rows * columns].astype(np.float32))
        return torch.div(values.reshape(rows, columns), columns**0.5)

    def frame(self, name: str, rows: int, columns: int) -> Tensor:
        """Return P [rows, columns], float32, with orthogonal columns in random directions and E[P Pᵀ] = I.

        An inner product has less error than with independent entries, by about 1 - columns / rows in the variance.
        Where there are no fewer columns than rows, which can't be orthogonal, entries are independent.
        """
        if columns >= rows:
            return self.matrix(name, rows, columns)
        values = normals(keys(_STREAM, self.seed, [name]), np.zeros(1, np.int64), (rows, columns))[0]
        q, r = np.linalg.qr(values.double().numpy())
        return torch.from_numpy(q * np.sign(r.diagonal()) * (rows / columns) ** 0.5).float()


def maps(
    cover: Coverage,
    compression: Compression,
    shares: Mapping[str, float] | None = None,
    device: torch.device | None = None,
) -> Maps:
    """The map of every layer; widths are proportional to the shares by layer, or equal where none are given."""
    layers, width = list(cover.layers.values()), compression.width
    if compression.kind == "dense":
        projections = {layer.name: compression.matrix(layer.name, layer.size, width).to(device) for layer in layers}
        dense = {layer.name: DenseMap(_whole(layer, device), projections[layer.name]) for layer in layers}
        return Maps({name: (layer_map, slice(0, width)) for name, layer_map in dense.items()}, width)
    if compression.kind == "none":
        layer_maps: list[LayerMap] = [_whole(layer, device) for layer in layers]
    else:
        split = _split(cover, width, shares)
        layer_maps = [_small(layer, part, compression, device) for layer, part in zip(layers, split, strict=True)]
    ends = np.cumsum([part.width for part in layer_maps]).tolist()
    places = [slice(end - part.width, end) for end, part in zip(ends, layer_maps, strict=True)]
    return Maps(dict(zip(cover.layers, zip(layer_maps, places, strict=True), strict=True)), ends[-1])


def layer_widths(cover: Coverage, compression: Compression, shares: Mapping[str, float] | None = None) -> list[int]:
    """Return the `widths` of `maps`, whose random matrices are not made for that."""
    layers = list(cover.layers.values())
    if compression.kind == "dense":
        return [compression.width]
    if compression.kind == "none":
        return [layer.size for layer in layers]
    split = _split(cover, compression.width, shares)
    return [_used(layer, part) for layer, part in zip(layers, split, strict=True)]


def _split(cover: Coverage, width: int, shares: Mapping[str, float] | None) -> list[int]:
    """The features of each layer; features that the two sides leave unused are shared out again, if they fit."""
    layers = list(cover.layers.values())
    if width < len(layers):
        raise ConfigError(f"{len(layers)} layers need as many features at least; width is {width}.")
    share = [1.0 if shares is None else shares[layer.name] for layer in layers]
    sizes, free = [layer.size for layer in layers], [_has_few_outputs(layer) for layer in layers]
    first = widths(sizes, share, width, free)
    spare = width - sum(_used(layer, part) for layer, part in zip(layers, first, strict=True))
    more = widths(sizes, share, width + max(spare, 0), free)
    fits = sum(_used(layer, part) for layer, part in zip(layers, more, strict=True)) <= width
    return more if fits else first


def _used(layer: Layer, width: int) -> int:
    """Return how many of `width` features a layer uses."""
    if isinstance(layer, NormLayer) or width >= layer.size or _has_few_outputs(layer):
        return min(width, layer.size)
    return math.prod(sides(layer.outputs, layer.inputs, width))


def _whole(layer: Layer, device: torch.device | None) -> ProductMap | PatchMap | NormMap:
    if isinstance(layer, NormLayer):
        return NormMap(layer, None)
    if isinstance(layer, ConvolutionLayer) and layer.has_cotangent_patches and layer.outputs <= layer.channels:
        return PatchMap(layer)
    return ProductMap(layer, None, torch.eye(layer.inputs, device=device).expand(layer.groups, -1, -1))


def _small(layer: Layer, width: int, compression: Compression, device: torch.device | None) -> LayerMap:
    """Return the two-sided map of a layer to at most `width` features."""
    name = layer.name
    if width >= layer.size:
        return _whole(layer, device)
    if isinstance(layer, NormLayer):
        return NormMap(layer, compression.frame(name, layer.size, width).to(device))
    if _has_few_outputs(layer) and isinstance(layer, ConvolutionLayer):
        return DenseMap(PatchMap(layer), compression.frame(name, layer.size, width).to(device))
    k_o, k_i = sides(layer.outputs, layer.inputs, width)
    return _two_sided(layer, k_o, k_i, compression, device)


def _two_sided(
    layer: ProductLayer, k_o: int, k_i: int, compression: Compression, device: torch.device | None
) -> LayerMap:
    """Return the map of a layer to k_o k_i features."""
    name = layer.name
    if layer.groups > 1:
        outputs = None if k_o == layer.outputs else compression.frame(f"{name} outputs", layer.outputs, k_o).to(device)
        inputs = compression.frame(f"{name} inputs", layer.groups * layer.inputs, k_i)
        return ProductMap(layer, outputs, inputs.reshape(layer.groups, layer.inputs, k_i).to(device))
    squeeze, rows = None, layer.inputs
    if k_i < rows and isinstance(layer, ConvolutionLayer):
        squeeze = _squeeze(layer, k_i, compression)
        rows = rows if squeeze is None else squeeze.shape[1] * layer.taps + int(layer.bias)
    inputs = torch.eye(k_i) if k_i == layer.inputs else compression.frame(f"{name} inputs", rows, k_i)
    whole = ProductMap(layer, None, inputs[None].to(device), None if squeeze is None else squeeze.to(device))
    if k_o == layer.outputs:
        return whole
    signs = compression.matrix(f"{name} outputs", layer.outputs, k_i).sign().to(device)
    return FoldedMap(whole, signs.T.contiguous().T if k_i <= FEW else signs, k_o)


def _has_few_outputs(layer: Layer) -> bool:
    """Return whether the whole gradient of a convolution costs no more than the projection of its input."""
    return isinstance(layer, ConvolutionLayer) and layer.has_cotangent_patches and layer.outputs <= 4


def _squeeze(layer: ConvolutionLayer, k_i: int, compression: Compression) -> Tensor | None:
    """P_c [C, m] for a convolution of at least 3/2 m channels: m is 8 for k_i up to 8, else 16."""
    m = 8 if k_i <= 8 else 16
    wide = layer.taps > 1 and 2 * layer.channels >= 3 * m
    return compression.frame(f"{layer.name} channels", layer.channels, m) if wide else None
