"""Every method as an attributor: a function from pictures to scores, which can be called with other pictures again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whence.attribution.attribute import attribute
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.methods import method
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.cost import Cost
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine, Report, silent
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError
from whence.scores.scores import Scores
from whence.similarity.attributors import Attributor, attributor, is_similarity

#: From the title of some work to a context that gives the function to call while it is done.
Progress = Callable[[str], AbstractContextManager[Report]]


@contextmanager
def no_progress(title: str) -> Iterator[Report]:
    """Show no progress."""
    yield silent


@dataclass(frozen=True)
class GradientAttributor:
    """A gradient method on an ensemble, as the mean over its members, for any pictures.

    The features of the training images are made at the first call and kept in `store`, so that a further call costs the
    gradients of its pictures alone, whose `progress` is shown. The draws of a picture belong to its name: the scores of
    one picture under two names differ by Monte Carlo error.
    """

    ensemble: Ensemble
    method: Method
    config: AttributionConfig
    store: Path
    engine: Engine = DEFAULT
    progress: Progress = no_progress

    def __call__(self, pictures: Tensor, names: Sequence[str]) -> Scores:
        """Return scores [Q, N] of pictures float32 [Q, C, H, W] in [-1, 1]."""
        with self.progress(f"{self.method.name} of {len(names)} pictures") as report:
            scores = attribute(
                self.ensemble,
                self.ensemble.data,
                Examples(tuple(names), pictures),
                self.method,
                config=self.config,
                store=self.store,
                engine=self.engine.reporting(report),
            )
        return scores[self.method.name]

    def plan(self, count: int) -> Cost:
        """Return the cost of the scores of `count` pictures that were not attributed before."""
        queries = Examples(tuple(map(str, range(count))), torch.zeros(count, *self.ensemble.reference_model.size))
        request = AttributionRequest.of(self.ensemble, self.ensemble.data, queries, self.method, self.config)
        return attribution_cost(FeaturePlan.of(request), FeatureStore(self.store), engine=self.engine)


def attributor_of(
    ensemble: Ensemble,
    name: str,
    *,
    config: AttributionConfig | None = None,
    store: str | Path | None = None,
    engine: Engine = DEFAULT,
    progress: Progress = no_progress,
) -> Attributor:
    """Return the attributor of any name for the pictures of an ensemble.

    Args:
        ensemble: A whole ensemble.
        name: A key of `METHODS`, NAME-checkpoints, or what `attributor` takes: ``pixel``, ``embedding:FOLDER``.
        config: Settings of a gradient method.
        store: Folder for its features; default ``RUN/evaluations/features``.
        engine: Where work runs.
        progress: Shows the progress of the gradients.

    Raises:
        ConfigError: There is no such method, or settings are given for a method that has none.
    """
    if is_similarity(name):
        if config is not None:
            raise ConfigError(f"{name} compares pictures: it has no draws and no settings. Leave them out.")
        return attributor(name, ensemble.data)
    folder = Path(store) if store else ensemble.path / "evaluations" / "features"
    return GradientAttributor(ensemble, method(name), AttributionConfig.of(config), folder, engine, progress)
