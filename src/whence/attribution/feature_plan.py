"""The feature plan: which features of which checkpoints and examples the methods of a request need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from whence.attribution.method import Method
from whence.attribution.queries import predicted_queries
from whence.attribution.request import AttributionRequest
from whence.attribution.weighted_checkpoint import WeightedCheckpoint
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.process import Process
from whence.gradients.compression import Compression
from whence.gradients.draw_sources import DrawSource, OwnDraws, TrajectoryDraws
from whence.gradients.features import Feature
from whence.scores.jackknife import GROUPS
from whence.seeds import derived_seed

#: Number of draws at each step of a query's trajectory.
STEP_DRAWS = GROUPS


@dataclass(frozen=True)
class FeatureSet:
    """Features of one set of examples by one checkpoint; the same as another one of the same checkpoint and name.

    `name` is that of their folder among the features of the checkpoint; each example has so many `draws` of the source.
    """

    checkpoint: Checkpoint | LoadedCheckpoint
    name: str
    examples: Examples = field(compare=False)
    source: DrawSource = field(compare=False)
    draws: int = field(compare=False)


@dataclass(frozen=True)
class Term:
    """A term of the scores S = Σ_c w_c S_c: a checkpoint with its weight w_c, and features of examples and queries."""

    checkpoint: WeightedCheckpoint
    examples: FeatureSet
    queries: FeatureSet


@dataclass(frozen=True)
class Trajectory:
    """The clean pictures, named QUERY@TIMESTEP, that the model predicts at the timesteps on the way to its own."""

    timesteps: tuple[float, ...]
    pictures: Examples

    @classmethod
    def of(cls, request: AttributionRequest) -> Trajectory:
        """Return the trajectories of the queries of a request, which are drawn again."""
        timesteps, clean, conditions = predicted_queries(request.target.model, request.queries)
        names = tuple(f"{name}@{t}" for t in timesteps for name in request.queries.ids)
        return cls(tuple(timesteps), Examples(names, clean.flatten(0, 1), conditions))


@dataclass(frozen=True)
class FeaturePlan:
    """The terms of the scores of every method, and the way to the queries if a method explains it.

    `dampings` are compared; without any, there are scores with errors at the request's damping, or the method's own.
    """

    request: AttributionRequest
    terms: Mapping[Method, tuple[Term, ...]]
    trajectory: Trajectory | None = None
    dampings: tuple[float, ...] | None = None

    @classmethod
    def of(cls, request: AttributionRequest, dampings: Sequence[float] | None = None) -> FeaturePlan:
        """Return the plan for the gradient methods of a request, with the dampings at which scores are compared.

        Raises:
            ConfigError: A method explains the way to the queries, and the model didn't draw them.
            ArtefactError: A method needs checkpoints that a run doesn't have.
            MismatchError: The record of a run is of other training examples.
        """
        needs_trajectory = any(method.steps != "none" for method in request.methods)
        trajectory = Trajectory.of(request) if needs_trajectory else None
        terms = {method: _terms(request, method, trajectory) for method in request.methods}
        return cls(request, terms, trajectory, None if dampings is None else tuple(dampings))

    @property
    def compressed(self) -> FeaturePlan:
        """The plan of the methods without curvature alone."""
        return replace(self, terms={method: terms for method, terms in self.terms.items() if method.curvature is None})

    @property
    def curved(self) -> FeaturePlan:
        """The plan of the methods with curvature alone, whose gradients are not compressed."""
        config = self.request.config.model_copy(update={"compression": Compression(kind="none")})
        terms = {method: terms for method, terms in self.terms.items() if method.curvature is not None}
        return replace(self, request=replace(self.request, config=config), terms=terms)

    def dampings_of(self, method: Method) -> tuple[float, ...]:
        """Return the dampings of a method's scores."""
        if self.dampings is not None:
            return tuple(method.dampings(self.dampings))
        stated = self.request.config.damping
        return (1.0 if isinstance(stated, str) else stated or method.damping,)

    @cached_property
    def kinds(self) -> dict[FeatureSet, tuple[Feature, ...]]:
        """The kinds of features that are needed of every set of examples."""
        kinds: dict[FeatureSet, set[Feature]] = {}
        for method, terms in self.terms.items():
            for term in terms:
                for feature_set in (term.examples, term.queries):
                    kinds.setdefault(feature_set, set()).add(method.feature)
        return {feature_set: tuple(sorted(features)) for feature_set, features in kinds.items()}

    @property
    def distinct_terms(self) -> tuple[Term, ...]:
        """The terms of all methods, each once."""
        return tuple(dict.fromkeys(term for terms in self.terms.values() for term in terms))

    @property
    def shared(self) -> dict[tuple[Term, Feature, tuple[str, ...]], list[Method]]:
        """The methods without curvature that share a kernel, by its term, features and queries."""
        shared: dict[tuple[Term, Feature, tuple[str, ...]], list[Method]] = {}
        for method, terms in self.compressed.terms.items():
            for term in terms:
                shared.setdefault((term, method.feature, self.query_ids(method)), []).append(method)
        return shared

    def query_ids(self, method: Method) -> tuple[str, ...]:
        """Return the queries of a method's scores: pictures, or every step on the way to each, QUERY@TIMESTEP."""
        ids = self.request.queries.ids
        if method.steps != "each" or self.trajectory is None:
            return ids
        return tuple(f"{name}@{t}" for name in ids for t in self.trajectory.timesteps)


def _terms(request: AttributionRequest, method: Method, trajectory: Trajectory | None) -> tuple[Term, ...]:
    """Return the terms of the scores of a method."""
    return tuple(
        Term(weighted, _example_set(request, method, weighted), _query_set(request, method, weighted, trajectory))
        for weighted in request.target.checkpoints(method.over, request.examples.ids, request.parameters)
    )


def _example_set(request: AttributionRequest, method: Method, weighted: WeightedCheckpoint) -> FeatureSet:
    """Return the features of the training examples: at draws of their own, or at those that training drew."""
    examples, recorded = request.examples, weighted.source
    if recorded is None:
        return _own_set(request, method, weighted, "examples", "examples", examples)
    draws = recorded_draws(request.config.draws, recorded.visits)
    return FeatureSet(weighted.checkpoint, f"recorded-{recorded.last:05d}", examples, recorded, draws)


def _query_set(
    request: AttributionRequest, method: Method, weighted: WeightedCheckpoint, trajectory: Trajectory | None
) -> FeatureSet:
    """Return the features of the queries, or of the pictures on the way to them."""
    if method.steps == "none" or trajectory is None:
        name = f"queries-{request.queries.fingerprint[:12]}"
        return _own_set(request, method, weighted, "queries", name, request.queries)
    pictures = trajectory.pictures
    timesteps = {name: int(name.rsplit("@", 1)[1]) for name in pictures.ids}
    steps = TrajectoryDraws(_draws(request, "trajectory"), timesteps)
    return FeatureSet(weighted.checkpoint, f"trajectory-{pictures.fingerprint[:12]}", pictures, steps, STEP_DRAWS)


def _own_set(
    request: AttributionRequest, method: Method, weighted: WeightedCheckpoint, purpose: str, name: str, x: Examples
) -> FeatureSet:
    """Return features at draws of each example's own, which differ by purpose; or at the same draws for all."""
    draws = own_draws(request.target.model.process, method, request.config.seed, purpose)
    if method.shared:
        draws, name = replace(draws, canvas=request.canvas), f"shared-{name}"
    if draws.canvas is not None:
        name = f"{'x'.join(map(str, draws.canvas))}-{name}"
    sampled = purpose == "examples" and request.config.latents == "sample"
    return FeatureSet(weighted.checkpoint, name, x, OwnDraws(draws, sampled), request.config.draws)


def own_draws(process: Process, method: Method, seed: int, purpose: str) -> Draws:
    """Return the draws of examples or queries (`purpose`) of a method: own ones, or the same for both and for all."""
    return replace(process.draws(derived_seed(seed, "shared" if method.shared else purpose)), shared=method.shared)


def _draws(request: AttributionRequest, purpose: str) -> Draws:
    return request.target.model.process.draws(derived_seed(request.config.seed, purpose))


def recorded_draws(draws: int, visits: int) -> int:
    """Return how many recorded visits are used: the latest ones, or all of them equally often, `GROUPS` at least."""
    return draws if visits >= draws else visits * -(-GROUPS // visits)
