"""The focus of queries: which part of each is explained, a region of the picture, a concept of the prompt, or both.

    f_focus(x_t, t, c) = Σ_i m_i f_i(x_t, t, c) - Σ_i m_i f_i(x_t, t, c_without)

m is the mask, f_i the part of the readout that belongs to the i-th element of the output, and c_without the conditions
of the prompt without the concept. The second sum is there for concepts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.nn.functional import avg_pool2d

from whence.diffusion.example_files import condition_tensors, conditions_in
from whence.diffusion.repeated import Repeated
from whence.errors import ConfigError, DataError, NotFiniteError
from whence.images import to_tensor

_MASK = "mask"


@dataclass(frozen=True, eq=False)
class Focus:
    """The part of Q queries that is explained.

    Attributes:
        mask: The weight of each element in the readout, from 0 to 1, the same in all channels, float32 [Q, H, W]; None
            for the whole picture. `element_mask` makes that of latents.
        without: The conditions without the concept by name, [Q, ...] each; empty where there is no concept.
        texts: The prompts without the concept, for people; no part of the fingerprint, and not written to disk.

    Raises:
        DataError: There is neither a mask nor a concept; or the mask has another shape, or values outside of 0 to 1.
        NotFiniteError: The mask is not finite.

    Example:
        >>> import torch
        >>> focus = Focus(torch.tensor([[[1.0, 0.0]]]))
        >>> focus.cotangent(torch.ones(1, 2, 1, 2), torch.tensor([0])).tolist()
        [[[[1.0, 0.0]], [[1.0, 0.0]]]]
        >>> focus.stated("loss of the query")
        'loss of the query, by its readout within the mask'
    """

    mask: Tensor | None = None
    without: Mapping[str, Tensor | Repeated] = field(default_factory=dict)
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mask is None and not self.without:
            raise DataError("A focus is a mask or the conditions without a concept; neither is there.")
        without = {n: c if isinstance(c, Repeated) else to_tensor(c) for n, c in self.without.items()}
        vars(self).update(without=without, texts=tuple(self.texts))
        if self.mask is not None:
            vars(self).update(mask=_checked(to_tensor(self.mask)))

    def require_fit(self, count: int, values: Any, conditions: Mapping[str, object]) -> None:
        """Check that the focus is of so many queries of these values [Q, C, H, W] with such conditions.

        Raises:
            DataError: It is of others, or there is a mask, and the queries have several shapes.
        """
        if self.mask is not None and tuple(self.mask.shape) != (expected := (count, *values.shape[2:])):
            raise DataError(
                f"The mask has the shape {tuple(self.mask.shape)}; expected [Q, H, W] of what is denoised, here "
                f"{expected}. `whence.diffusion.focus.element_mask` makes it from the mask of a picture."
            )
        if self.without and self.without.keys() != conditions.keys():
            raise DataError(
                f"The queries have the conditions {sorted(conditions)}, and without the concept {sorted(self.without)}."
                " Give both the same."
            )
        for name, rows in self.without.items():
            if len(rows) != count:
                raise DataError(f"There are {count} queries, but {len(rows)} {name} without the concept.")

    def cotangent(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return the derivative of the readout by the output of some rows [n, C, H, W], times their masks."""
        if self.mask is None:
            return values
        return values * self.mask[rows].to(values)[:, None]

    def conditions_of(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the conditions of some rows without the concept; empty where there is no concept."""
        return {name: condition[rows] for name, condition in self.without.items()}

    def select(self, rows: Tensor) -> Focus:
        """The focus of some queries."""
        mask = None if self.mask is None else self.mask[rows]
        without = {n: c.select(rows) if isinstance(c, Repeated) else c[rows] for n, c in self.without.items()}
        return replace(self, mask=mask, without=without, texts=tuple(self.texts[n] for n in rows) if self.texts else ())

    def stated(self, behaviour: str) -> str:
        """Return what is explained in words, from a method's words for it."""
        within = "" if self.mask is None else " within the mask"
        if not self.without:
            return f"{behaviour}, by its readout{within}"
        texts = " or ".join(repr(text) for text in dict.fromkeys(self.texts)) or "without the concept"
        return f"{behaviour}, by its readout{within}, minus that with the prompt {texts}"

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Mask and conditions by their names on disk."""
        tensors = {} if self.mask is None else {_MASK: self.mask}
        return tensors | condition_tensors(self.without)

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Focus | None:
        """Return the focus whose tensors are on disk; None if there are none."""
        return cls(tensors.get(_MASK), conditions_in(tensors)) if tensors else None


def _checked(mask: Tensor) -> Tensor:
    """Return a mask in float32, after a check of its values."""
    if mask.dim() != 3 or not mask.numel():
        raise DataError(f"The mask has the shape {tuple(mask.shape)}; expected [Q, H, W], none of them 0.")
    mask = mask.float()
    if not mask.isfinite().all():
        raise NotFiniteError(f"The mask has {int((~mask.isfinite()).sum())} values that are not finite. Give 0 to 1.")
    if mask.min() < 0 or mask.max() > 1:
        raise DataError(f"The mask has values from {mask.min():g} to {mask.max():g}; give 0 to 1, pixels over 255.")
    return mask


def element_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Return the mask of latents of a shape (C, h, w) from that of pictures [Q, H, W]: its mean over the area of each.

    Masks that add up to 1 at every pixel add up to 1 at every latent.

    Raises:
        DataError: The picture's sides are no multiples of those of the latents, by the same factor.

    Example:
        >>> import torch
        >>> element_mask(torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]), (4, 1, 1)).tolist()
        [[[0.75]]]
    """
    height, width = size[1:]
    factor = mask.shape[1] // height
    if not factor or tuple(mask.shape[1:]) != (factor * height, factor * width):
        raise DataError(
            f"The mask is {mask.shape[2]}x{mask.shape[1]}; expected {width}x{height}, or a multiple of both by the "
            "same factor."
        )
    return avg_pool2d(mask.float()[:, None], factor)[:, 0]


def require_no_focus(focus: Focus | None, what: str) -> None:
    """Refuse a part of pictures, where `what` is done with whole ones alone; a `ConfigError`."""
    if focus is not None:
        raise ConfigError(
            f"A part of the pictures is to be explained, a region or a concept, and {what} whole pictures. Leave the "
            "focus out."
        )
