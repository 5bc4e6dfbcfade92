"""The declaration of a gradient method: a function of features, and which features."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.inner_product import InnerProduct
from whence.errors import ConfigError
from whence.gradients.readouts import readout as known_readout

if TYPE_CHECKING:
    from torch import Tensor

    from whence.gradients.features import Feature

#: λ as a multiple of the mean eigenvalue, where neither method nor user says otherwise.
DAMPING = 0.1
#: Names of other folders beside those of scores.
RESERVED = ("features", "pictures", "request")


@dataclass(frozen=True)
class Method:
    """A gradient method.

    Attributes:
        name: Its name on the command line, in artefacts and of their folder.
        title: Its name in its paper.
        paper: The paper.
        function: From the features of one model and the damping c, λ = c · tr(ΦᵀΦ) / min(N, p), to scores, float64
            [Q, N], of which the mean over models, or the sum over checkpoints, is taken.
        readout: What is differentiated, for training examples and queries.
        normalised: Whether the gradient of each draw is divided by its norm before the mean is taken.
        over: "model": one final model; "checkpoints": the mean over its checkpoints; "record": the sum over its
            checkpoints, each with its learning rate and with the timesteps, noise and flips that training drew.
        steps: What is taken of a query: "none": the picture itself; "mean": the mean over the pictures that are
            predicted on the way to it; "each": each of these pictures by itself.
        damped: Whether the scores depend on the damping.
        curvature: "k-fac" or "ek-fac": the function takes whole gradients in the eigenbasis of the network's curvature,
            some training examples at a time, and their eigenvalues; None: it takes compressed gradients.
        damping: Default of c in λ = c · (mean eigenvalue).
        has_ridge: Whether λ may be the ridge of the training, see `TrainingRidge`.
        shared: Whether all examples and queries have the same draws, instead of draws of their own.
        signed: Whether positive means proponent.
        additive: Whether scores can be summed over examples.
        loss_units: Whether scores are in units of the loss, so that it should change by as much as they predict.
        behaviour: What is explained about the query.
        inner: How the score is an inner product, for an index; None where it is not.

    Raises:
        ConfigError: A folder can't have this name, or another folder has it; or there is no such readout.

    Example:
        >>> from whence.attribution.methods import METHODS
        >>> METHODS["d-trak"].feature.name, METHODS["retrac"].needs
        ('squared-norm', 'checkpoints with their record; without, the model itself')
    """

    name: str
    title: str
    paper: str
    function: Callable[[FeaturePair, float], Tensor]
    readout: str = "loss"
    normalised: bool = False
    over: Literal["model", "checkpoints", "record"] = "model"
    steps: Literal["none", "mean", "each"] = "none"
    damped: bool = True
    curvature: Literal["k-fac", "ek-fac"] | None = None
    damping: float = DAMPING
    has_ridge: bool = False
    shared: bool = False
    signed: bool = True
    additive: bool = True
    loss_units: bool = False
    behaviour: str = "loss of the query"
    inner: InnerProduct | None = None

    def __post_init__(self) -> None:
        known_readout(self.readout)
        if not re.fullmatch(r"[a-z0-9]+([-_.@][a-z0-9]+)*", self.name) or self.name in RESERVED:
            raise ConfigError(
                f"A method can't be called {self.name!r}. Use small letters and digits, joined by - and unlike "
                f"{', '.join(RESERVED)}."
            )
        if self.curvature is not None and (self.steps != "none" or self.over == "record"):
            raise ConfigError(
                f"The method {self.name!r} has a curvature, which is that of the loss at draws of each example's own. "
                'Leave out steps, and take over="model" or "checkpoints".'
            )

    @property
    def feature(self) -> Feature:
        """The kind of features that it needs."""
        from whence.gradients.features import Feature

        return Feature(self.readout, self.normalised)

    @property
    def needs(self) -> str:
        """In words, what it needs beside a model."""
        if self.steps != "none":
            return "queries that the model drew: sample:COUNT"
        return {
            "model": "nothing else",
            "checkpoints": "checkpoints; without, the model itself",
            "record": "checkpoints with their record; without, the model itself",
        }[self.over]

    @property
    def cost(self) -> str:
        """In words, what it costs."""
        if self.curvature is not None:
            return "1 pass by all parameters, without compression, and 2 over some draws for the curvature"
        once = "1 pass over examples and queries" if self.over == "model" else "1 pass for each checkpoint"
        return once + (", and 1 over all steps of the queries" if self.steps != "none" else "")

    def dampings(self, dampings: Sequence[float]) -> list[float]:
        """Return the dampings to compare: the given ones, and its own if it states one; only its own if not damped.

        Example:
            >>> Method("m", "M", "none", lambda features, damping: features.dot, damping=2.0).dampings([1.0, 10.0])
            [1.0, 2.0, 10.0]
        """
        if not self.damped:
            return [self.damping]
        return sorted({*dampings, *([] if self.damping == DAMPING else [self.damping])})
