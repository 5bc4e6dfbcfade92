"""The request: what is to be attributed to what, and the settings, opened and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.methods import METHODS, RUN_METHODS
from whence.attribution.methods import method as method_of
from whence.attribution.query_focus import require_readouts
from whence.attribution.run_method import RunMethod
from whence.attribution.target import Target
from whence.attribution.training_examples import latents_of, training_examples
from whence.attribution.training_ridge import recorded
from whence.config import Count, LatentChoice, Settings
from whence.data import Dataset
from whence.diffusion.checks import require_size
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import Engine
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError
from whence.gradients.compression import Compression
from whence.gradients.make_curvature import ROWS
from whence.gradients.stored_features import Precision
from whence.images import require_pictures, warn_of_range
from whence.scores.jackknife import GROUPS
from whence.scores.scores import Scores
from whence.similarity.attributors import attributor, is_similarity

#: The damping of a method is the ridge of the training, see `whence.attribution.training_ridge`.
AUTO = "auto"


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
    differentiated layers contain.
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
    run_methods: tuple[RunMethod, ...] = ()

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
        _require_kinds(data, queries)
        target = model if isinstance(model, Target) else Target.open(model)
        config = config.model_copy(update={"latents": latents_of(target, config.latents)})
        examples = training_examples(target, data, encoding, config.latents)
        units = data.units if isinstance(data, Dataset) else tuple((name,) for name in data.ids)
        names = dict.fromkeys([method] if isinstance(method, str | Method) else method)
        similarities = tuple(n for n in names if isinstance(n, str) and n not in METHODS and is_similarity(n))
        run_methods = tuple(RUN_METHODS[n] for n in names if isinstance(n, str) and n in RUN_METHODS)
        others = [n for n in names if n not in similarities and n not in RUN_METHODS]
        methods = tuple(method_of(n) if isinstance(n, str) else n for n in others)
        _require_distinct([*similarities, *(m.name for m in methods), *(m.name for m in run_methods)])
        if isinstance(queries, str | Path):
            queries = target.queries(str(queries))
        elif isinstance(queries, Dataset):
            queries = target.encoders.encode_queries(queries)
        images = data if isinstance(data, Dataset) else None
        chosen = (methods, similarities, config, parameters, run_methods)
        request = cls(target, images, examples, units, queries, *chosen)
        request._check()
        return request

    def _check(self) -> None:
        """Check that training examples and queries fit the model and each other."""
        if self.examples.values.dtype == torch.uint8 and self.queries.values.dtype.is_floating_point:
            require_pictures(self.queries.tensor, self.queries.ids)
        else:
            self.examples.require_range()
            self.queries.require_range()
            self._warn_of_range()
        require_size(self.target.model, self.queries.values, "queries")
        if self.examples.conditions.keys() != self.queries.conditions.keys():
            raise ConfigError(
                f"The training examples have the conditions {sorted(self.examples.conditions)}, the queries "
                f"{sorted(self.queries.conditions)}. Give both those that the network takes: Examples(ids, values, "
                "conditions)."
            )
        for examples in (self.examples, self.queries):
            examples.require_finite()
        if self.examples.focus is not None:
            raise ConfigError("The training examples have a focus; only queries have one. Leave it out.")
        if self.queries.focus is not None:
            require_readouts([*self.similarities, *self.methods, *self.run_methods])
        if self.config.damping == AUTO:
            self._require_ridge()
        if self.similarities and not self.target.encoders.draws_pixels and self.queries.pictures is None:
            raise ConfigError(
                f"{self.similarities[0]} compares pictures; give the queries as pictures, not as latents."
            )
        if self.similarities and self.data is None:
            raise ConfigError(f"{self.similarities[0]} compares pictures; give the training images as a Dataset.")

    def _require_ridge(self) -> None:
        """Check that the ridge of the training can be the damping of all methods."""
        without = [method.name for method in self.methods if method.damped and not method.has_ridge]
        if without:
            known = ", ".join(name for name, method in METHODS.items() if method.has_ridge)
            raise ConfigError(
                f"--damping auto is for {known}; {without[0]} has no such ridge. Give a number, or leave --damping out."
            )
        for checkpoint in self.target.checkpoints("model", self.examples.ids, self.parameters):
            recorded(checkpoint)

    def _warn_of_range(self) -> None:
        """Warn of floats in [0, 1] where the model denoises pictures; latents may have any range."""
        size = self.target.model.size
        if len(size) == 3 and size[0] in (1, 3) and self.target.encoders.draws_pixels:
            for examples, noun in ((self.examples, "training examples"), (self.queries, "queries")):
                if examples.values.dtype.is_floating_point:
                    warn_of_range(examples.tensor, noun)

    def similarity_scores(self) -> dict[str, Scores]:
        """Compute the scores of the methods that compare pictures alone, by name."""
        if self.data is None:
            return {}
        pictures = self.query_pictures.x(range(len(self.queries)))
        return {name: attributor(name, self.data)(pictures, self.queries.ids) for name in self.similarities}

    def run_scores(self, store: Path, engine: Engine) -> dict[str, Scores]:
        """Compute the scores of the methods that differentiate a whole run, by name; parts are kept in a folder."""
        return {method.name: method.function(self, store, engine) for method in self.run_methods}

    @property
    def training_pictures(self) -> Tensor | None:
        """The training images, uint8 [N, C, H, W]; None where there are no pictures of 1 or 3 channels."""
        pixels = self.examples.tensor if self.data is None else artefacts.to_tensor(self.data.pixels)
        return pixels if pixels.dtype == torch.uint8 and pixels.shape[1] in (1, 3) else None

    @property
    def query_pictures(self) -> Examples:
        """The queries as pictures, without conditions."""
        values = self.queries.tensor if self.queries.pictures is None else self.queries.pictures
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
    def weights(self) -> dict[str, float]:
        """The weight of each training example in the loss, by id; that of the data, or else 1."""
        weights = self.data.weights if self.data is not None else ()
        return dict(zip(self.examples.ids, weights or (1.0,) * len(self.examples), strict=True))

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of model, data and queries; and of the weights of the data, where there are any."""
        inputs = {"model": self.target.fingerprint, "data": self.examples.fingerprint}
        if self.data is not None and self.data.weights:
            inputs["weights"] = artefacts.digest(self.weights)
        return {**inputs, "queries": self.queries.fingerprint}


def _require_kinds(data: object, queries: object) -> None:
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


def _require_distinct(names: Sequence[str]) -> None:
    """Check that there are methods, and that their names differ."""
    if not names:
        raise ConfigError("No method was asked for. `whence methods` lists them.")
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise ConfigError(f"Two methods are called {repeated[0]!r}; give yours another name.")
