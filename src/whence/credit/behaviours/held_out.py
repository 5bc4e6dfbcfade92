"""How well a model fits pictures: those that training never saw, and those that are asked about."""

from __future__ import annotations

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Values
from whence.credit.context import Context


def held_out_fit(context: Context) -> Values:
    """Return v: minus the mean denoising loss of the held-out pictures, [1].

    Example:
        >>> from whence.credit.looks import Look
        >>> held_out_fit(None)(Look(None, np.array([0.5, 1.0]), None, None)).tolist()
        [-0.75]
    """
    return lambda look: np.array([-look.held_out.mean()])


def fit(context: Context) -> Values:
    """Return v: minus the denoising loss of every query, [Q].

    Example:
        >>> from whence.credit.looks import Look
        >>> fit(None)(Look(None, None, np.array([0.5, 1.0]), None)).tolist()
        [-0.5, -1.0]
    """
    return lambda look: -look.losses


HELD_OUT_FIT = Behaviour(
    "held-out-fit",
    "Fit to pictures that training never saw: minus the mean denoising loss",
    "mean squared error",
    "model",
    frozenset({"held_out"}),
    held_out_fit,
)
FIT = Behaviour(
    "fit", "Fit to the picture: minus its denoising loss", "mean squared error", "picture", frozenset({"losses"}), fit
)
