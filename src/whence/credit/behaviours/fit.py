"""Fit: how well a model removes noise from pictures that training never saw, and from the queries."""

from __future__ import annotations

import numpy as np

from whence.credit.behaviours.declaration import Behaviour

HELD_OUT_FIT = Behaviour(
    "held-out-fit",
    "Fit to pictures that training never saw: minus the mean denoising loss",
    "mean squared error",
    "model",
    frozenset({"held_out"}),
    lambda context: lambda measurement: np.array([-measurement.held_out.mean()]),
    meaning="How well the model removes noise from real pictures that it never saw. Numbers are below zero: nearer to "
    "zero is better.",
)
FIT = Behaviour(
    "fit",
    "Fit to the picture: minus its denoising loss",
    "mean squared error",
    "picture",
    frozenset({"losses"}),
    lambda context: lambda measurement: -measurement.losses,
    meaning="How familiar this picture is to the model: how well the model removes noise from it. Numbers are below "
    "zero: nearer to zero is more familiar.",
)
