"""How well a model fits pictures: those that training never saw, and the queries."""

from __future__ import annotations

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Context, Values


def held_out_fit(context: Context) -> Values:
    """Return v: minus the mean denoising loss of the held-out pictures, [1].

    Example:
        >>> from whence.retraining.measurement import Measurement
        >>> held_out_fit(None)(Measurement(None, np.array([0.5, 1.0]), None, None)).tolist()
        [-0.75]
    """
    return lambda measurement: np.array([-measurement.held_out.mean()])


def fit(context: Context) -> Values:
    """Return v: minus the denoising loss of every query, [Q].

    Example:
        >>> from whence.retraining.measurement import Measurement
        >>> fit(None)(Measurement(None, None, np.array([0.5, 1.0]), None)).tolist()
        [-0.5, -1.0]
    """
    return lambda measurement: -measurement.losses


HELD_OUT_FIT = Behaviour(
    "held-out-fit",
    "Fit to pictures that training never saw: minus the mean denoising loss",
    "mean squared error",
    "model",
    frozenset({"held_out"}),
    held_out_fit,
    meaning="How well the model removes noise from real pictures that it never saw. Numbers are below zero: nearer to "
    "zero is better.",
)
FIT = Behaviour(
    "fit",
    "Fit to the picture: minus its denoising loss",
    "mean squared error",
    "picture",
    frozenset({"losses"}),
    fit,
    meaning="How familiar this picture is to the model: how well the model removes noise from it. Numbers are below "
    "zero: nearer to zero is more familiar.",
)
