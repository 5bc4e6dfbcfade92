"""From features to scores: methods that need the same features share one kernel for each checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan, Term
from whence.attribution.feature_store import FeatureStore
from whence.attribution.influence_store import StoredInfluence
from whence.attribution.method import Method
from whence.attribution.term_features import Order, TermFeatures
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError
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
    kernels = plan.shared
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


def _scores(plan: FeaturePlan, method: Method, values: Tensor, total: Jackknife, errors: bool) -> Scores:
    request = plan.request
    return Scores(
        scores=values,
        queries=plan.query_ids(method),
        examples=request.examples.ids,
        units=request.units,
        method=method.name,
        estimand=estimand(plan, method),
        sign="positive is proponent" if method.signed else "unsigned",
        combine="sum" if method.additive else "max",
        standard_error=total.standard_error() if errors else None,
        draws=request.config.draws,
        deviations=total.deviations() if errors else None,
    )


def estimand(plan: FeaturePlan, method: Method) -> Estimand:
    """Return what the scores of a method of a plan estimate."""
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
