"""The request: what is to be attributed to what, opened and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from whence.attribution.config import AttributionConfig
from whence.attribution.method import Method
from whence.attribution.methods import METHODS
from whence.attribution.methods import method as method_of
from whence.attribution.target import Target
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.ranges import require_pictures, require_size
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError
from whence.scores.scores import Scores
from whence.similarity.attributors import attributor, is_similarity


@dataclass(frozen=True)
class AttributionRequest:
    """What is to be attributed to what. `of` opens and checks it.

    Attributes:
        target: The model.
        data: The training images; None where the training examples are tensors.
        examples: The training examples.
        units: Units of every example.
        queries: The queries.
        methods: The gradient methods.
        similarities: Names of the methods that compare pictures alone.
        config: The settings.
        parameters: Which parameters are differentiated: a regular expression that a layer's name must contain.
    """

    target: Target
    data: Dataset | None
    examples: Examples
    units: tuple[tuple[str, ...], ...]
    queries: Examples
    methods: tuple[Method, ...]
    similarities: tuple[str, ...]
    config: AttributionConfig
    parameters: str | None = None

    @classmethod
    def of(
        cls,
        model: str | Path | DiffusionModel | Ensemble | Target,
        data: Dataset | Examples,
        queries: Examples | Dataset | str,
        method: str | Method | Sequence[str | Method],
        config: AttributionConfig | None = None,
        parameters: str | None = None,
    ) -> AttributionRequest:
        """Return a request. `attribute` describes the arguments and the errors."""
        target = model if isinstance(model, Target) else Target.open(model)
        if isinstance(data, Dataset):
            target.require_data(data)
        examples = Examples.of(data) if isinstance(data, Dataset) else data
        units = data.units if isinstance(data, Dataset) else tuple((name,) for name in data.ids)
        names = dict.fromkeys([method] if isinstance(method, str | Method) else method)
        similarities = tuple(n for n in names if isinstance(n, str) and n not in METHODS and is_similarity(n))
        methods = tuple(method_of(n) if isinstance(n, str) else n for n in names if n not in similarities)
        _require_distinct([*similarities, *(method.name for method in methods)])
        if isinstance(queries, str):
            queries = target.queries(queries)
        elif isinstance(queries, Dataset):
            queries = Examples(queries.ids, queries.images(range(len(queries))))
        images = data if isinstance(data, Dataset) else None
        config = config or AttributionConfig()
        request = cls(target, images, examples, units, queries, methods, similarities, config, parameters)
        request._check()
        return request

    def _check(self) -> None:
        """Check that training examples and queries fit the model and each other.

        Raises:
            ConfigError: They have different conditions, or there are no images for a method that compares pictures.
        """
        if self.examples.values.dtype == torch.uint8 and self.queries.values.is_floating_point():
            require_pictures(self.queries.values, self.queries.ids)
        require_size(self.target.model, self.queries.values, "queries")
        if self.examples.conditions.keys() != self.queries.conditions.keys():
            raise ConfigError(
                f"The training examples have the conditions {sorted(self.examples.conditions)}, the queries "
                f"{sorted(self.queries.conditions)}. Give both those that the network takes: Examples(ids, values, "
                "conditions)."
            )
        for examples in (self.examples, self.queries):
            examples.require_finite()
        if self.similarities and self.data is None:
            raise ConfigError(f"{self.similarities[0]} compares pictures; give the training images as a Dataset.")

    def similarity_scores(self) -> dict[str, Scores]:
        """Compute the scores of the methods that compare pictures alone, by name."""
        if self.data is None:
            return {}
        pictures = self.queries.x(range(len(self.queries)))
        return {name: attributor(name, self.data)(pictures, self.queries.ids) for name in self.similarities}

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of model, data and queries."""
        return {
            "model": self.target.fingerprint,
            "data": self.examples.fingerprint,
            "queries": self.queries.fingerprint,
        }


def _require_distinct(names: Sequence[str]) -> None:
    """Check that there are methods, and that their names differ.

    Raises:
        ConfigError: There are none, or two of one name.
    """
    if not names:
        raise ConfigError("No method was asked for. `whence methods` lists them.")
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise ConfigError(f"Two methods are called {repeated[0]!r}; give yours another name.")
