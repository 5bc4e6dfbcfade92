"""The declaration of a method that differentiates a whole run, instead of comparing features of one set of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from whence.attribution.request import AttributionRequest
    from whence.cost import Cost
    from whence.engine import Engine
    from whence.scores.scores import Scores


@dataclass(frozen=True)
class RunMethod:
    """A method of a run.

    Attributes:
        name: Its name on the command line, in artefacts and of their folder.
        title: Its name in its paper.
        paper: The paper.
        function: From a request, the folder where parts of the work are kept, and the engine, to scores.
        plan: From a request and the engine to the cost of the function.
        readout: What is differentiated, in words.
        needs: In words, what it needs.
        cost: In words, what it costs.
        behaviour: What is explained about the query.
    """

    name: str
    title: str
    paper: str
    function: Callable[[AttributionRequest, Path, Engine], Scores]
    plan: Callable[[AttributionRequest, Engine], Cost]
    readout: str
    needs: str
    cost: str
    behaviour: str = "loss of the query"
