"""What a gradient method declares: a function of features, and which features."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.errors import ConfigError
from whence.gradients.features import Feature
from whence.gradients.readouts import readout as known_readout

#: λ as a multiple of the mean eigenvalue, where neither method nor user says otherwise.
DAMPING = 0.1
#: Folders beside those of scores.
TAKEN = ("features", "pictures", "request")


@dataclass(frozen=True)
class Method:
    """A gradient method. `function(evidence, damping)` gives scores [Q, N]; the rest says of what.

    Attributes:
        name: What it is called on the command line and in artefacts.
        title: What its paper calls it.
        paper: Where it comes from.
        function: From features of one model to scores; the mean over models, or the sum over checkpoints, is taken.
        readout: What is differentiated, of training examples and of queries.
        normalised: Whether each draw's gradient is divided by its norm before the mean is taken.
        over: One final model; the mean over its checkpoints; or the sum over them, each with its learning rate and with
            the timesteps, noise and flips that training drew.
        steps: Of queries: the picture itself; the mean over the pictures that are predicted on the way to it; or each
            of these by itself.
        damped: Whether the damping matters.
        damping: c in λ = c · (mean eigenvalue), where nothing else is asked for.
        shared: Whether all examples and queries are looked at with the same draws instead of their own.
        signed: Whether positive means proponent.
        additive: Whether sums over examples mean something.
        behaviour: What of the query is explained.

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
    damping: float = DAMPING
    shared: bool = False
    signed: bool = True
    additive: bool = True
    behaviour: str = "loss of the query"

    def __post_init__(self) -> None:
        """Check the name, which a folder gets, and the readout.

        Raises:
            ConfigError: No folder can have the name, or another one has it; or there is no such readout.
        """
        known_readout(self.readout)
        if not re.fullmatch(r"[a-z0-9]+([-_.@][a-z0-9]+)*", self.name) or self.name in TAKEN:
            raise ConfigError(
                f"A method can't be called {self.name!r}. Use small letters and digits, joined by - and unlike "
                f"{', '.join(TAKEN)}."
            )

    @property
    def feature(self) -> Feature:
        """The kind of features that it looks at."""
        return Feature(self.readout, self.normalised)

    @property
    def needs(self) -> str:
        """What it needs beside a model, in words."""
        if self.steps != "none":
            return "queries that the model drew: sample:COUNT"
        return {
            "model": "nothing else",
            "checkpoints": "checkpoints; without, the model itself",
            "record": "checkpoints with their record; without, the model itself",
        }[self.over]

    @property
    def cost(self) -> str:
        """What it costs, in words."""
        return {
            "model": "1 pass over examples and queries",
            "checkpoints": "1 pass for each checkpoint",
            "record": "1 pass for each checkpoint",
        }[self.over] + (", and 1 over all steps of the queries" if self.steps != "none" else "")
