"""What all sections share: the bank, the folder of work, and attributions that are made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from whence.attribution.attribute import Request
from whence.attribution.gradient_attributor import Progress, unseen
from whence.attribution.method import Method
from whence.attribution.methods import METHODS, method
from whence.attribution.queries import Queries
from whence.attribution.target import Target
from whence.attribution.work import AttributionConfig
from whence.evaluation.bank.bank import Bank
from whence.evaluation.leaderboard.config import LeaderboardConfig
from whence.evaluation.leaderboard.quick import quick_scores
from whence.scores.scores import Scores
from whence.similarity.attributors import ATTRIBUTORS

#: Attributors that look at pixels alone.
PIXELS = tuple(name for name in ATTRIBUTORS if name != "pixel-flips")
#: Name of the row of random scores.
RANDOM = "random"


@dataclass(frozen=True, eq=False)
class Board:
    """A leaderboard that is being measured.

    Attributes:
        bank: The retrained models.
        work: Folder for everything that is made.
        config: The settings.
        workers: Processes; default one for each core.
        progress: Shows how far each part is.
    """

    bank: Bank
    work: Path
    config: LeaderboardConfig
    workers: int | None = None
    progress: Progress = unseen

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """The gradient methods, which give scores of the queries themselves and not of steps on the way to them."""
        if self.config.methods is not None:
            return tuple(method(name) for name in self.config.methods)
        return tuple(one for one in METHODS.values() if one.steps != "each")

    @cached_property
    def target(self) -> Target:
        """The first reference model, which is attributed."""
        return Target.open(self.bank.models[0])

    @property
    def draws(self) -> int:
        """Draws of all figures but those of the curve."""
        return max(self.config.draws)

    def settings(self, draws: int, seed: int | None = None) -> AttributionConfig:
        """How gradients are taken."""
        seed = self.config.seed if seed is None else seed
        return AttributionConfig(draws=draws, seed=seed, compression=self.config.compression)

    def request(self, methods: Sequence[Method], draws: int, *, drawn: bool) -> Request:
        """What is asked of the bank's first model: all queries, or those that it drew, with the way to them."""
        return Request.make(self.target, self.bank.data, self.asked(drawn), methods, self.settings(draws))

    def quick(self, request: Request, store: Path, title: str) -> dict[str, Scores]:
        """Return scores without standard errors, while progress is shown."""
        with self.progress(title) as report:
            return quick_scores(request, store, workers=self.workers, report=report)

    def asked(self, drawn: bool) -> Queries:
        """All queries, or those that the model drew."""
        return self.bank.asked(True if drawn else None)


def needs_drawn(one: Method) -> bool:
    """Whether a method explains the way to a picture, so that the model must have drawn it."""
    return one.steps != "none"
