"""Checks of the values of examples: whether they are finite, and no pixels of 0 ... 255 as floating point numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from whence.diffusion.examples import Examples
from whence.diffusion.repeated import Repeated
from whence.errors import DataError, NotFiniteError
from whence.images import require_pictures, warn_of_range

#: Rows that are checked together.
ROWS = 4096


def require_finite_values(examples: Examples) -> None:
    """Check that no value is NaN or infinite; the message names the example. Encoders check what they encode."""
    focus = examples.focus
    without = {f"{name} without the concept": c for name, c in (focus.without if focus else {}).items()}
    for part in examples.by_shape():
        if isinstance(part.values, Tensor):
            _require_finite("values", part.values, part)
    for name, rows in {**examples.conditions, **without}.items():
        tensor = rows.values if isinstance(rows, Repeated) else rows
        if isinstance(tensor, Tensor):
            _require_finite(name, tensor, examples, rows.rows if isinstance(rows, Repeated) else None)


def _require_finite(name: str, tensor: Tensor, examples: Examples, rows: Tensor | None = None) -> None:
    """Check a tensor, whose rows are those of the examples or, if given, the `rows` of each; block by block."""
    if not tensor.is_floating_point():
        return
    blocks = (tensor[first : first + ROWS] for first in range(0, len(tensor), ROWS))
    bad = torch.cat([~block.isfinite().reshape(len(block), -1).all(1) for block in blocks])
    bad = bad if rows is None else bad[rows]
    for n in bad.nonzero().flatten()[:1].tolist():
        raise NotFiniteError(
            f"The {name} of {examples.ids[n]!r} are not finite ({int(bad.sum())} of {len(examples)} examples). Leave "
            "it out or restore it."
        )


def require_scaled_values(examples: Examples) -> None:
    """Check that floating point values are not pixels of 0 ... 255; latents may have any other range."""
    for part in examples.by_shape():
        values = part.values
        if isinstance(values, Tensor) and values.is_floating_point() and values.min() >= 0 and values.max() > 2:
            raise DataError(
                f"The values of {len(part)} examples are between {values.min():g} and {values.max():g}, like pixels of "
                "0 ... 255. Give pixels as uint8, pictures in [-1, 1] (x / 127.5 - 1), or latents."
            )


def require_picture_values(examples: Examples) -> None:
    """Check that floating point values are pictures in [-1, 1], as `require_pictures` does."""
    for part in examples.by_shape():
        require_pictures(part.tensor, part.ids)


def warn_of_bright_values(examples: Examples, noun: str) -> None:
    """Warn where floating point pictures all lie in [0, 1], as `warn_of_range` does."""
    if examples.values.dtype.is_floating_point:
        for part in examples.by_shape():
            warn_of_range(part.tensor, noun)
