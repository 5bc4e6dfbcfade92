"""Ridge regression on pixels: the likeness of the query that other training images don't explain."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from whence.data import Dataset
from whence.errors import DataError
from whence.kernel.kernel import Kernel
from whence.scores.scores import Estimand, Scores

#: λ as a multiple of the mean eigenvalue.
DAMPING = 0.5


def pixel_kernel(pictures: Tensor, names: Sequence[str], data: Dataset) -> Scores:
    """Scores S = V_q Vᵀ(VVᵀ + λI)⁻¹ of flattened pixels v in [-1, 1], λ = ½ the mean eigenvalue.

    The tangent kernel's formula with pixels in place of Jacobians: what a linear model of the pixels of q owes to n. It
    knows nothing of the diffusion model, so a method that looks at one should do better.

    Args:
        pictures: Queries float32 [Q, C, H, W] in [-1, 1].
        names: Query ids, Q.
        data: Training examples, N.

    Returns:
        Unsigned scores [Q, N]; a unit's score is the sum of those of its images.

    Raises:
        DataError: The queries have another size than the training images.

    Example:
        >>> from whence.data import load
        >>> digits = load("digits").select(range(50))
        >>> pixel_kernel(digits.images([5]), ["q"], digits).top("q", 1)[0][0] == digits.ids[5]
        True
    """
    if tuple(pictures.shape[1:]) != tuple(data.size):
        raise DataError(f"The queries are {tuple(pictures.shape[1:])}, the training images {data.size} (C, H, W).")
    examples = data.images(range(len(data))).flatten(1)
    return Scores(
        scores=Kernel(examples, pictures.flatten(1)).scores(DAMPING).float(),
        queries=tuple(names),
        examples=data.ids,
        units=data.units,
        method="pixel-kernel",
        estimand=Estimand("likeness of pixels", "none: a similarity", "none", "none", "example"),
        sign="unsigned",
        combine="sum",
    )
