"""Every method as an attributor: a function from pictures to scores, which can be asked again about other pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from whence import artefacts
from whence.attribution.attribute import Request, attribute
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.method import Method
from whence.attribution.methods import method
from whence.attribution.queries import Queries
from whence.attribution.work import AttributionConfig
from whence.cost import Cost
from whence.engine import Report, silent
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError
from whence.scores.scores import Scores
from whence.similarity.attributors import Attributor, attributor, is_attributor

#: From the name of some work to a context that gives what is called while it is done.
Progress = Callable[[str], AbstractContextManager[Report]]


@contextmanager
def unseen(title: str) -> Iterator[Report]:
    """Show no progress."""
    yield silent


@dataclass(frozen=True)
class GradientAttributor:
    """A gradient method on an ensemble, as the mean over its members, to be asked about any pictures.

    The features of the training images are made when it is first asked and kept, so that asking again costs the
    gradients of the pictures alone. The draws of a picture belong to its name: the scores of one picture under two
    names differ by Monte Carlo error.

    Attributes:
        ensemble: A whole ensemble.
        method: The method.
        config: Draws, damping, compression and seed.
        store: Folder for features.
        workers: Processes; default one for each core.
        progress: Shows how far the gradients are, each time that it is asked.
    """

    ensemble: Ensemble
    method: Method
    config: AttributionConfig
    store: Path
    workers: int | None = None
    progress: Progress = unseen

    def __call__(self, pictures: Tensor, names: Sequence[str]) -> Scores:
        """Return scores [Q, N] of pictures float32 [Q, C, H, W] in [-1, 1]."""
        data, queries = self.ensemble.data, Queries(tuple(names), pictures, sampler=None, drawn=False)
        with self.progress(f"{self.method.name} of {len(names)} pictures") as report:
            found = attribute(
                self.ensemble,
                data,
                queries,
                self.method,
                config=self.config,
                store=self.store,
                workers=self.workers,
                report=report,
            )
        return found[self.method.name]

    def plan(self, count: int) -> Cost:
        """Cost of being asked about so many pictures that it wasn't asked about before."""
        blank = torch.zeros(count, *self.ensemble.schedule.size)
        queries = Queries(tuple(map(str, range(count))), blank, sampler=None, drawn=False)
        request = Request.make(self.ensemble, self.ensemble.data, queries, self.method, self.config)
        with TemporaryDirectory() as scratch:
            work = request.work(self.store if self.store.exists() else Path(scratch))
            try:
                return attribution_cost(work, request.methods, workers=self.workers)
            finally:
                artefacts.discard(work.store / "sets" / request.pictures.fingerprint[:12])


def attributor_of(
    ensemble: Ensemble,
    name: str,
    *,
    config: AttributionConfig | None = None,
    store: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = unseen,
) -> Attributor:
    """Return the attributor of any name for the pictures of an ensemble.

    Args:
        ensemble: A whole ensemble.
        name: A key of `METHODS`, NAME-checkpoints, or what `attributor` takes: ``pixel``, ``embedding:FOLDER``.
        config: Settings of a gradient method.
        store: Folder for its features; default ``RUN/evaluations/features``.
        workers: Processes for them; default one for each core.
        progress: Shows how far they are, each time that the attributor is asked.

    Returns:
        From pictures float32 [Q, C, H, W] in [-1, 1] and their names to scores [Q, N].

    Raises:
        ConfigError: There is no such method, or settings are given for one that has none.
    """
    if is_attributor(name):
        if config is not None:
            raise ConfigError(f"{name} compares pictures: it has no draws and no settings. Leave them out.")
        return attributor(name, ensemble.data)
    place = Path(store) if store else ensemble.path / "evaluations" / "features"
    return GradientAttributor(ensemble, method(name), config or AttributionConfig(), place, workers, progress)
