"""From features to scores: methods that need the same features share one kernel for each checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan, Term
from whence.attribution.feature_store import FeatureStore
from whence.attribution.influence_store import StoredInfluence
from whence.attribution.method import Method
from whence.attribution.request import AUTO
from whence.attribution.training_ridge import TrainingRidge
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError
from whence.gradients.features import Feature, outside
from whence.gradients.stored_features import StoredFeatures
from whence.scores.jackknife import GROUPS, Jackknife
from whence.scores.scores import Estimand, Scores


@overload
def compute_scores(
    plan: FeaturePlan, store: FeatureStore, *, errors: bool = True, dampings: None = None, engine: Engine = DEFAULT
) -> dict[str, Scores]: ...


@overload
def compute_scores(
    plan: FeaturePlan, store: FeatureStore, *, errors: bool = True, dampings: Sequence[float], engine: Engine = DEFAULT
) -> dict[str, dict[float, Scores]]: ...


def compute_scores(
    plan: FeaturePlan,
    store: FeatureStore,
    *,
    errors: bool = True,
    dampings: Sequence[float] | None = None,
    engine: Engine = DEFAULT,
) -> dict[str, Scores] | dict[str, dict[float, Scores]]:
    """Compute the scores S = Σ_c w_c S_c of all methods of a plan, from features that are there.

    Args:
        plan: The plan.
        store: The store, after it was extended by the plan.
        errors: Whether standard errors are computed, which cost eight times as much as the scores.
        dampings: Several dampings, which share one kernel; see `Method.dampings`. Default: the damping of the request,
            or else the method's own.
        engine: Its report is called with (kernels done, kernels in all).

    Returns:
        Scores by name of the method. With `dampings` by name and damping, in float64; a damping that a method refuses,
        because rounding errors or a leverage of 1 would take over, is left out.

    Raises:
        ConfigError: A method refuses its damping, or its function returns something else than scores [Q, N].
        ArtefactError: Features are missing or damaged.
    """
    totals = {method: _zeros(plan, method, errors, dampings) for method in plan.terms}
    kernels: dict[tuple[Term, Feature, tuple[str, ...]], list[Method]] = {}
    for method, terms in plan.compressed.terms.items():
        for term in terms:
            kernels.setdefault((term, method.feature, plan.query_ids(method)), []).append(method)
    for method, terms in plan.curved.terms.items():
        for term in terms:
            _add_influence(totals[method], plan, store.scores(plan, term, method), term, errors)
    for done, ((term, feature, query_ids), methods) in enumerate(kernels.items()):
        features = TermFeatures.open(plan, store, term, feature, query_ids)
        for group in (None, *range(GROUPS)) if errors else (None,):
            pair = features.pair(group)
            for method in methods:
                _add(totals[method], method, features, pair, group, skip_refused=dampings is not None)
        engine.report(done + 1, len(kernels))
    if dampings is None:
        singles = [(method, total) for method, by_damping in totals.items() for total in by_damping.values()]
        return {method.name: _scores(plan, method, total.value.float(), total, errors) for method, total in singles}
    return {
        method.name: {c: _scores(plan, method, total.value, total, errors) for c, total in by_damping.items()}
        for method, by_damping in totals.items()
    }


def _zeros(plan: FeaturePlan, method: Method, errors: bool, dampings: Sequence[float] | None) -> dict[float, Jackknife]:
    """Return the scores of no checkpoints yet, at every damping."""
    compared = replace(plan, dampings=None if dampings is None else tuple(dampings))
    size = len(plan.query_ids(method)), len(plan.request.examples), GROUPS if errors else 0
    return {c: Jackknife.zeros(*size) for c in compared.dampings_of(method)}


def _add(
    totals: dict[float, Jackknife],
    method: Method,
    features: TermFeatures,
    pair: FeaturePair,
    group: int | None,
    *,
    skip_refused: bool,
) -> None:
    """Add the scores of one checkpoint, from all draws or without one group, at every damping."""
    for damping in list(totals):
        try:
            scores = method.function(pair, damping)
        except ConfigError:
            if not skip_refused:
                raise
            del totals[damping]
            continue
        if tuple(scores.shape) != features.shape:
            raise ConfigError(
                f"The method {method.name!r} returned scores of shape {tuple(scores.shape)}; expected [Q, N], here "
                f"{features.shape}."
            )
        totals[damping].add(group, features.order.weighted(scores))


def _add_influence(
    totals: dict[float, Jackknife], plan: FeaturePlan, stored: StoredInfluence, term: Term, errors: bool
) -> None:
    """Add the scores of one checkpoint by a method with curvature, at every damping."""
    order = Order.of(plan, term, plan.request.queries.ids, stored.queries, stored.examples)
    for damping, total in totals.items():
        for group in (None, *range(GROUPS)) if errors else (None,):
            total.add(group, order.weighted(stored.at(damping, group)))


@dataclass(frozen=True)
class Order:
    """Where the queries and examples of a request are among those of stored scores, and the weights of its examples.

    Attributes:
        lines: Place of each query, Q.
        columns: Place of each example, N.
        weights: What the scores of each example are multiplied by, float64 [N]: the weights of the checkpoint and of
            the example in the loss, and 0 where it was not trained on.
    """

    lines: Tensor
    columns: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls, plan: FeaturePlan, term: Term, query_ids: Sequence[str], queries: Sequence[str], examples: Sequence[str]
    ) -> Order:
        """Return the places of the queries with these ids, and of the examples of the plan, in two orders of ids."""
        trained, ids = term.checkpoint.trained, plan.request.examples.ids
        shares = plan.request.weights if trained is None else dict(trained)
        weights = [term.checkpoint.weight * shares.get(name, 0.0) for name in ids]
        return cls(_places(queries, query_ids), _places(examples, ids), torch.tensor(weights, dtype=torch.float64))

    def weighted(self, scores: Tensor) -> Tensor:
        """Return stored scores [Q, N] in the order of the request, times the weights."""
        return scores[self.lines][:, self.columns] * self.weights


@dataclass(frozen=True)
class TermFeatures:
    """The features of a term, with examples and queries in the order of their ids, so that no other changes any bit.

    Attributes:
        examples: Features of the examples.
        queries: Features of the queries, or of all their steps.
        steps: Rows of each query, Q, in the order of the ids.
        order: Where they are in the request.
        weights: How often each example counts in the kernel, N in the order of the ids; None for once.
        ridge: The ridge of the training, where it is the unit of the damping.
    """

    examples: StoredFeatures
    queries: StoredFeatures
    steps: tuple[tuple[int, ...], ...]
    order: Order
    weights: Tensor | None = None
    ridge: TrainingRidge | None = None

    @classmethod
    def open(
        cls, plan: FeaturePlan, store: FeatureStore, term: Term, feature: Feature, query_ids: tuple[str, ...]
    ) -> TermFeatures:
        """Open the features of examples and queries; those of its steps for a query whose steps are there."""
        examples = store.features(plan, term.examples, feature)
        queries = store.features(plan, term.queries, feature)
        steps, in_order = query_rows(queries.ids, query_ids), sorted(query_ids)
        order = Order.of(plan, term, query_ids, in_order, examples.ids)
        known = plan.request.weights
        weights = torch.tensor([known[name] for name in examples.ids]) if set(known.values()) - {1.0} else None
        ridge = TrainingRidge.of(term.checkpoint) if plan.request.config.damping == AUTO else None
        return cls(examples, queries, tuple(tuple(steps[name]) for name in in_order), order, weights, ridge)

    @property
    def shape(self) -> tuple[int, int]:
        """(Q, N)."""
        return len(self.steps), len(self.order.columns)

    def pair(self, without: int | None = None) -> FeaturePair:
        """Return the means over the draws, or over the draws outside of one group."""
        values = self.queries.mean(without)
        queries = torch.stack([values[list(rows)].mean(0) for rows in self.steps])
        examples, losses, widths = self.examples.mean(without), self.examples.loss(without), self.examples.widths
        draws = int(outside(self.examples.draws, without).sum())
        units = () if self.ridge is None else self.ridge.units(examples, widths, losses, draws)
        return FeaturePair(examples, queries, losses, widths, weights=self.weights, units=units)


def _places(order: Sequence[str], names: Sequence[str]) -> Tensor:
    """Return the place of each name in an order, [n]."""
    place = {name: n for n, name in enumerate(order)}
    return torch.tensor([place[name] for name in names])


def query_rows(ids: Sequence[str], queries: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows of each query: its own, or those of all its steps QUERY@TIMESTEP."""
    rows: dict[str, list[int]] = {name: [] for name in queries}
    for row, name in enumerate(ids):
        rows[name if name in rows else name.rsplit("@", 1)[0]].append(row)
    return rows


def _scores(plan: FeaturePlan, method: Method, values: Tensor, total: Jackknife, errors: bool) -> Scores:
    request = plan.request
    return Scores(
        scores=values,
        queries=plan.query_ids(method),
        examples=request.examples.ids,
        units=request.units,
        method=method.name,
        estimand=_estimand(plan, method),
        sign="positive is proponent" if method.signed else "unsigned",
        combine="sum" if method.additive else "max",
        standard_error=total.standard_error() if errors else None,
        draws=request.config.draws,
        deviations=total.deviations() if errors else None,
    )


def _estimand(plan: FeaturePlan, method: Method) -> Estimand:
    terms = plan.terms[method]
    if terms[0].checkpoint.source:
        process = "the recorded steps of the training run, each to first order"
    else:
        step = "one damped Newton step" if method.damped else "one gradient step"
        over = "" if len(terms) == 1 else f", the mean over {len(terms)} sets of weights"
        process = f"{step} from these weights{over}"
    if terms[0].examples.source.sampled:
        process += ", with a sample of the latents at each draw"
    stated = plan.request.target.model.process.stated
    process += f"; loss with {stated}" if stated else ""
    model = plan.request.target.fingerprint
    return Estimand(plan.request.behaviour(method), "an example left out of training", process, model, "example")
