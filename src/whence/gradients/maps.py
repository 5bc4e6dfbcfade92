"""Maps from the input and the cotangent of a layer to its features.

The input is reduced in the forward pass (`prepare`) and meets the cotangent in the backward pass (`features`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from whence.gradients.kept_input import KeptInput
from whence.gradients.layers import NormLayer
from whence.gradients.product_layers import ConvolutionLayer, ProductLayer

#: So few columns of an input side are faster as the rows of a product than as its columns.
FEW = 8


class LayerMap(Protocol):
    """Turns the input and the cotangent of a layer into its features, of which there are `width`."""

    @property
    def width(self) -> int: ...  # noqa: D102

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Any:
        """Return what is kept of the layer's input until its cotangent is known; the output may save work."""

    def features(self, prepared: Any, cotangent: Tensor) -> Tensor:
        """Return the features of every row, [n, width]."""


@dataclass(frozen=True)
class ProductMap:
    """The features of a layer whose gradient is Σ_s δ_os a_is: P_oᵀ ∇W P_i, flattened.

    Attributes:
        outputs: P_o [O, k_o]; None for the identity.
        inputs: P_i [groups, I, k_i]; with `squeeze` Q [1, m·taps (+ 1 for the bias), k_i].
        squeeze: P_c [C, m] of a convolution whose channels are mixed first; None where they aren't.
    """

    layer: ProductLayer
    outputs: Tensor | None
    inputs: Tensor
    squeeze: Tensor | None = None

    @property
    def width(self) -> int:
        """Number of features."""
        return (self.layer.outputs if self.outputs is None else self.outputs.shape[1]) * self.inputs.shape[2]

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Tensor:
        """Return what is kept of the layer's input until its cotangent is known."""
        if self.squeeze is not None and isinstance(self.layer, ConvolutionLayer):
            x = self.layer.squeezed(x, self.squeeze)
        return self.layer.input_side(x, self.inputs)

    def features(self, prepared: Tensor, cotangent: Tensor) -> Tensor:
        """Return the features of every row, [n, width]."""
        return self.product(prepared, cotangent).flatten(1)

    def product(self, prepared: Tensor, cotangent: Tensor) -> Tensor:
        """P_oᵀ ∇W P_i of every row, [n, k_o, k_i]."""
        outputs = self.layer.output_side(cotangent, self.outputs).transpose(1, 2)
        if outputs.shape[2] == 1:  # one position: an outer product, which is slow as a product of matrices
            return outputs * prepared
        if prepared.shape[2] <= FEW:
            return torch.bmm(prepared.transpose(1, 2), outputs.transpose(1, 2)).transpose(1, 2)
        return torch.bmm(outputs, prepared)


@dataclass(frozen=True)
class PatchMap:
    """The whole gradient of a convolution with stride 1 and few outputs, from patches of the cotangent.

    ∇W_ocτ = Σ_s δ_os x_c,s+τ = Σ_u x_cu δ_o,u-τ costs less than from patches of the input where there are fewer outputs
    than input channels.
    """

    layer: ConvolutionLayer

    @property
    def width(self) -> int:
        """Number of features."""
        return self.layer.size

    def prepare(self, x: Tensor, output: Tensor | None = None) -> KeptInput:
        """Return the input itself."""
        return KeptInput.of(self.layer.name, x)

    def features(self, prepared: KeptInput, cotangent: Tensor) -> Tensor:
        """Return the features of every row, [n, width]."""
        patches = self.layer.cotangent_patches(cotangent)
        products = torch.bmm(patches, prepared.unchanged().flatten(2).transpose(1, 2))
        weight = products.reshape(-1, self.layer.outputs, self.layer.taps, self.layer.channels)
        parts = [weight.transpose(2, 3).flatten(2)]
        if self.layer.bias:
            parts.append(cotangent.flatten(2).sum(2, keepdim=True))
        return torch.cat(parts, 2).flatten(1)


@dataclass(frozen=True)
class NormMap:
    """The features of a normalisation: Pᵀ g, with P [size, k] or, if None, the identity."""

    layer: NormLayer
    project: Tensor | None

    @property
    def width(self) -> int:
        """Number of features."""
        return self.layer.size if self.project is None else self.project.shape[1]

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Any:
        """Return what the gradient needs of the input."""
        return self.layer.prepare(x, output)

    def features(self, prepared: Any, cotangent: Tensor) -> Tensor:
        """Return the features of every row, [n, width]."""
        gradient = self.layer.explicit(prepared, cotangent)
        return gradient if self.project is None else gradient @ self.project


@dataclass(frozen=True)
class DenseMap:
    """A dense projection of a layer's whole gradient: Pᵀ vec(g), P [size, k]."""

    whole: ProductMap | PatchMap | NormMap
    project: Tensor

    @property
    def width(self) -> int:
        """Number of features."""
        return self.project.shape[1]

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Any:
        """Return what the whole gradient needs of the layer's input."""
        return self.whole.prepare(x, output)

    def features(self, prepared: Any, cotangent: Tensor) -> Tensor:
        """Return the features of every row, [n, width]."""
        return self.whole.features(prepared, cotangent) @ self.project


@dataclass(frozen=True)
class FoldedMap:
    """The outputs of a layer's product, added up with random signs into fewer sums.

        φ_ri = Σ_{o mod rows = r} σ_oi (∇W P_i)_oi,      σ = ±1, independent

    Every column of the input side has signs σ [O, k_i] of its own, so the error on the output side falls with the width
    and not with the number of rows. The cotangent needs no projection before the product. Signs lie in memory as the
    product does.
    """

    whole: ProductMap
    signs: Tensor
    rows: int

    @property
    def width(self) -> int:
        """Number of features."""
        return self.rows * self.signs.shape[1]

    def prepare(self, x: Tensor, output: Tensor | None = None) -> Tensor:
        """Return the input side."""
        return self.whole.prepare(x)

    def features(self, prepared: Tensor, cotangent: Tensor) -> Tensor:
        """Return the features of every row, [n, width]."""
        signed = self.whole.product(prepared, cotangent).mul_(self.signs)
        folds, rest = divmod(len(self.signs), self.rows)
        folded = signed[:, : folds * self.rows]
        if folds > 1:
            folded = folded.view(len(signed), folds, self.rows, -1).sum(1)
        folded[:, :rest] += signed[:, folds * self.rows :]
        return folded.flatten(1)


@dataclass(frozen=True)
class Maps:
    """The maps of all layers and where their features go.

    Attributes:
        by_layer: The map of every layer and its columns among the features; several may share columns and add up.
        width: Number of features, p.
    """

    by_layer: dict[str, tuple[LayerMap, slice]]
    width: int

    @property
    def widths(self) -> list[int]:
        """Number of features of every layer, in the order of the columns; one number where layers share columns."""
        return [stop - start for start, stop in sorted({(at.start, at.stop) for _, at in self.by_layer.values()})]
