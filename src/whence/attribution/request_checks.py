"""Checks of a request of an attribution: whether model, training examples, queries and methods fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from whence.attribution.methods import METHODS
from whence.attribution.query_focus import require_readouts
from whence.attribution.training_ridge import AUTO, recorded
from whence.data import Dataset
from whence.diffusion.checks import require_shapes
from whence.diffusion.example_checks import (
    require_finite_values,
    require_picture_values,
    require_scaled_values,
    warn_of_bright_values,
)
from whence.diffusion.examples import Examples
from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.attribution.request import AttributionRequest


def check_request(request: AttributionRequest) -> None:
    """Check that training examples and queries fit the model and each other."""
    if request.examples.values.dtype == torch.uint8 and request.queries.values.dtype.is_floating_point:
        require_picture_values(request.queries)
    else:
        require_scaled_values(request.examples)
        require_scaled_values(request.queries)
        _warn_of_range(request)
    _check_shapes(request)
    if request.examples.conditions.keys() != request.queries.conditions.keys():
        raise ConfigError(
            f"The training examples have the conditions {sorted(request.examples.conditions)}, the queries "
            f"{sorted(request.queries.conditions)}. Give both those that the network takes: Examples(ids, values, "
            "conditions)."
        )
    for examples in (request.examples, request.queries):
        require_finite_values(examples)
    if request.examples.focus is not None:
        raise ConfigError("The training examples have a focus; only queries have one. Leave it out.")
    if request.queries.focus is not None:
        require_readouts([*request.similarities, *request.methods, *request.run_methods])
    if request.config.damping == AUTO:
        _require_ridge(request)
    if request.similarities and not request.target.encoders.draws_pixels and request.queries.pictures is None:
        raise ConfigError(f"{request.similarities[0]} compares pictures; give the queries as pictures, not as latents.")
    if request.similarities and request.data is None:
        raise ConfigError(f"{request.similarities[0]} compares pictures; give the training images as a Dataset.")


def _require_ridge(request: AttributionRequest) -> None:
    """Check that the ridge of the training can be the damping of all methods."""
    without = [method.name for method in request.methods if method.damped and not method.has_ridge]
    if without:
        known = ", ".join(name for name, method in METHODS.items() if method.has_ridge)
        raise ConfigError(
            f"--damping auto is for {known}; {without[0]} has no such ridge. Give a number, or leave --damping out."
        )
    for checkpoint in request.target.checkpoints("model", request.examples.ids, request.parameters):
        recorded(checkpoint)


def _check_shapes(request: AttributionRequest) -> None:
    """Check that the model takes the queries, and that what compares pictures of one shape has no others."""
    require_shapes(request.target.model, request.queries, "queries", request.examples.sizes)
    for name in (*request.similarities, *(method.name for method in request.run_methods)):
        if request.canvas is not None:
            raise ConfigError(f"{name!r} is for pictures of one shape. Leave it out, or give --resolution.")


def _warn_of_range(request: AttributionRequest) -> None:
    """Warn of floats in [0, 1] where the model denoises pictures; latents may have any range."""
    size = request.target.model.size
    if len(size) == 3 and size[0] in (1, 3) and request.target.encoders.draws_pixels:
        for examples, noun in ((request.examples, "training examples"), (request.queries, "queries")):
            warn_of_bright_values(examples, noun)


def require_kinds(data: object, queries: object) -> None:
    """Check that training examples and queries are of a kind that can be attributed."""
    if not isinstance(data, Dataset | Examples):
        raise ConfigError(
            f"The training examples are a {type(data).__name__}; give a Dataset, the name of one that `load` reads, or "
            "Examples(ids, values)."
        )
    if not isinstance(queries, Dataset | Examples | str | Path):
        raise ConfigError(
            f"The queries are a {type(queries).__name__}; give Examples(ids, pictures), a Dataset, or a name such as "
            "'sample:16'."
        )


def require_distinct(names: Sequence[str]) -> None:
    """Check that there are methods, and that their names differ."""
    if not names:
        raise ConfigError("No method was asked for. `whence methods` lists them.")
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise ConfigError(f"Two methods are called {repeated[0]!r}; give yours another name.")
