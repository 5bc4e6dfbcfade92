"""The request: what is to be attributed to what, and the settings, opened and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.methods import METHODS, RUN_METHODS
from whence.attribution.methods import method as method_of
from whence.attribution.prefilter import Population, Prefilter, narrowed
from whence.attribution.request_checks import check_request, require_distinct, require_kinds
from whence.attribution.run_method import RunMethod
from whence.attribution.target import Target
from whence.attribution.training_examples import latents_of, training_examples
from whence.config import Count, LatentChoice, Settings
from whence.data import Dataset
from whence.data.own_units import OwnUnits
from whence.diffusion.example_order import canonical_order
from whence.diffusion.examples import Examples
from whence.diffusion.latents import Latents
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.ensemble.model import Ensemble
from whence.gradients.compression import Compression
from whence.gradients.make_curvature import ROWS
from whence.gradients.stored_features import Precision
from whence.ragged import Ragged
from whence.scores.jackknife import GROUPS
from whence.scores.scores import Scores
from whence.similarity.attributors import attributor, is_similarity


class AttributionConfig(Settings):
    """How gradients are taken and turned into scores."""

    draws: Annotated[int, Field(ge=GROUPS, strict=True)] = Field(
        128,
        description=f"Draws (timestep, noise) per example and query, {GROUPS} at least; standard errors are best where "
        "they are a multiple of 64, which spreads every group evenly over the timesteps.",
    )
    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = Field(
        None,
        description="Damping λ as a multiple of the mean eigenvalue of the kernel, or auto: the ridge of the recorded "
        "training, for tangent and tangent-squared. Default: the method's own.",
    )
    seed: int = Field(0, ge=0, description="Seed of the draws.")
    curvature_rows: Count = Field(
        ROWS,
        exclude_if=lambda value: value == ROWS,
        description="Pairs of training example and draw from which the curvature of k-fac and ek-fac is estimated, for "
        "its eigenvectors and again for its eigenvalues.",
    )
    latents: LatentChoice | None = Field(
        None,
        exclude_if=lambda value: value != "sample",
        description="Gradients at the mean of the latents of training images (mode), or at a sample of them at each "
        "draw (sample). Default: as the run was trained, else mode.",
    )
    prefilter: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="NAME:COUNT, like latent:2000: gradients of the COUNT training examples most similar to each query "
        "alone, and of as many others for the kernel and the recall. Default: gradients of all.",
    )
    compression: Compression = Field(Compression(), description="What is kept of a gradient.")
    autocast: bool = Field(False, description="Run the network in bfloat16 where that is safe.")
    precision: Precision = Field("float32", description="How features are kept on disk: float32 or float16.")

    def shared(self) -> dict[str, Any]:
        """Return the settings that all scores in a folder share, as JSON values: all but draws and damping."""
        return {name: value for name, value in self.record().items() if name not in ("draws", "damping")}


@dataclass(frozen=True)
class AttributionRequest:
    """What is to be attributed to what. `of` opens and checks it.

    `data` is None where the training examples are tensors; `similarities` are the methods that compare pictures alone,
    `run_methods` those that differentiate a whole run; `parameters` is a regular expression that the names of
    differentiated layers contain. With a `population` the training examples are the candidates of a prefilter, and then
    a sample of the others.
    """

    target: Target
    data: Dataset | None
    examples: Examples
    units: Sequence[tuple[str, ...]]
    queries: Examples
    methods: tuple[Method, ...]
    similarities: tuple[str, ...]
    config: AttributionConfig
    parameters: str | None = None
    run_methods: tuple[RunMethod, ...] = ()
    population: Population | None = None

    @classmethod
    def of(
        cls,
        model: str | Path | DiffusionModel | Ensemble | Target,
        data: Dataset | Examples,
        queries: Examples | Dataset | str | Path,
        method: str | Method | Sequence[str | Method],
        config: AttributionConfig | None = None,
        parameters: str | None = None,
        encoding: Path | None = None,
    ) -> AttributionRequest:
        """Return a request. `attribute` describes the arguments and the errors.

        `encoding` is the folder that keeps the latents and embedded captions of the data, where the model needs them.
        """
        config = AttributionConfig.of(config)
        require_kinds(data, queries)
        target = model if isinstance(model, Target) else Target.open(model)
        config = config.model_copy(update={"latents": latents_of(target, config.latents)})
        examples = training_examples(target, data, encoding, config.latents)
        units = data.units if isinstance(data, Dataset) else OwnUnits(data.ids)
        names = dict.fromkeys([method] if isinstance(method, str | Method) else method)
        similarities = tuple(n for n in names if isinstance(n, str) and n not in METHODS and is_similarity(n))
        run_methods = tuple(RUN_METHODS[n] for n in names if isinstance(n, str) and n in RUN_METHODS)
        others = [n for n in names if n not in similarities and n not in RUN_METHODS]
        methods = tuple(method_of(n) if isinstance(n, str) else n for n in others)
        require_distinct([*similarities, *(m.name for m in methods), *(m.name for m in run_methods)])
        if isinstance(queries, str | Path):
            queries = target.queries(str(queries))
        elif isinstance(queries, Dataset):
            queries = target.encoders.encode_queries(queries)
        images = data if isinstance(data, Dataset) else None
        chosen = (methods, similarities, config, parameters, run_methods)
        request = cls(target, images, examples, units, queries, *chosen)
        check_request(request)
        return request if config.prefilter is None else narrowed(request, Prefilter.parse(config.prefilter))

    @cached_property
    def canvas(self) -> tuple[int, int] | None:
        """The largest height and width of examples and queries, if they have several shapes; None if they have one."""
        sizes = {*self.examples.sizes, *self.queries.sizes}
        return (max(size[-2] for size in sizes), max(size[-1] for size in sizes)) if len(sizes) > 1 else None

    def similarity_scores(self) -> dict[str, Scores]:
        """Compute the scores of the methods that compare pictures alone, by name."""
        if self.data is None or not self.similarities:
            return {}
        pictures = self.query_pictures.x(range(len(self.queries)))
        return {name: attributor(name, self.data)(pictures, self.queries.ids) for name in self.similarities}

    def run_scores(self, store: Path, engine: Engine) -> dict[str, Scores]:
        """Compute the scores of the methods that differentiate a whole run, by name; parts are kept in a folder."""
        return {method.name: method.function(self, store, engine) for method in self.run_methods}

    @property
    def training_pictures(self) -> Tensor | Ragged | None:
        """The training images, uint8 [N, C, H, W] or `Ragged`; None where there are no pictures of 1 or 3 channels."""
        if self.data is not None:
            return self.data.tensor
        values = self.examples.values
        if values.dtype != torch.uint8 or isinstance(values, Latents) or self.examples.sizes[0][0] not in (1, 3):
            return None
        return values

    @property
    def query_pictures(self) -> Examples:
        """The queries as pictures, without conditions."""
        queries = self.queries
        values = queries.tensor if isinstance(queries.values, Latents) else queries.values
        values = values if queries.pictures is None else queries.pictures
        return Examples(self.queries.ids, values, captions=self.queries.captions)

    def behaviour(self, method: Method) -> str:
        """What a method explains about the queries, or about the part of them that their focus names."""
        focus = self.queries.focus
        return method.behaviour if focus is None else focus.stated(method.behaviour)

    @property
    def captions(self) -> tuple[str, ...]:
        """The captions of the training images, of a model that draws from text; else empty."""
        return () if self.data is None else self.target.encoders.captions(self.data)

    @cached_property
    def example_weights(self) -> Tensor:
        """The weight of each training example in the loss, float64 [N]; that of the data, or else 1."""
        weights = self.data.weights if self.data is not None else ()
        one = torch.ones(1, dtype=torch.float64)
        return torch.tensor(weights, dtype=torch.float64) if weights else one.expand(len(self.examples))

    @cached_property
    def example_order(self) -> np.ndarray:
        """Which training example is at each place of stored features, int64 [N]."""
        return canonical_order(self.examples)

    @cached_property
    def example_places(self) -> np.ndarray:
        """Where each training example is among stored features, int64 [N]."""
        order = self.example_order
        return order if (order == np.arange(len(order))).all() else np.argsort(order)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each training example in the loss, by id."""
        return dict(zip(self.examples.ids, self.example_weights.tolist(), strict=True))

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of model, data and queries; and of the weights of the data, where there are any."""
        inputs = {"model": self.target.fingerprint, "data": self.examples.fingerprint}
        if self.data is not None and self.data.weights:
            inputs["weights"] = artefacts.digest(self.weights)
        if self.population is not None:
            inputs["population"] = self.population.fingerprint
        return {**inputs, "queries": self.queries.fingerprint}
