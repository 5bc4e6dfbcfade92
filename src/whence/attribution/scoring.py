"""From features to scores: methods that look at the same features share one kernel for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.method import Method
from whence.attribution.work import Look, Work
from whence.engine import Report, silent
from whence.errors import ConfigError
from whence.gradients.features import Feature
from whence.gradients.store import Features
from whence.scores.jackknife import GROUPS, Jackknife
from whence.scores.scores import Estimand, Scores


def scores(
    work: Work,
    wanted: Mapping[Method, Sequence[Look]],
    units: tuple[tuple[str, ...], ...],
    report: Report = silent,
) -> dict[str, Scores]:
    """Compute the scores of all methods from features that are there: S = Σ over weights w_c S_c.

    Args:
        work: What is asked for.
        wanted: Where each method's features are.
        units: Units of every example.
        report: Called with (kernels done, kernels in all).

    Returns:
        Scores with standard errors, by name of the method.
    """
    totals = {method: Jackknife.zeros(len(work.query_names(method)), len(work.examples)) for method in wanted}
    shared: dict[tuple[Look, Feature, tuple[str, ...]], list[Method]] = {}
    for method, looks in wanted.items():
        for look in looks:
            shared.setdefault((look, method.feature, work.query_names(method)), []).append(method)
    for done, ((look, feature, queries), methods) in enumerate(shared.items()):
        _add(totals, methods, Seen.open(look, feature, work.examples.ids, queries), work.config.damping)
        report(done + 1, len(shared))
    return {
        method.name: Scores(
            scores=totals[method].value.float(),
            queries=work.query_names(method),
            examples=work.examples.ids,
            units=units,
            method=method.name,
            estimand=_estimand(work, method, looks),
            sign="positive is proponent" if method.signed else "unsigned",
            combine="sum" if method.additive else "max",
            standard_error=totals[method].standard_error(),
            draws=work.config.draws,
            deviations=totals[method].deviations(),
        )
        for method, looks in wanted.items()
    }


def _add(totals: Mapping[Method, Jackknife], methods: Sequence[Method], seen: Seen, damping: float | None) -> None:
    """Add the scores of one set of weights by methods that share a kernel, from all draws and without each group.

    Raises:
        ConfigError: A method's function returns something else than scores [Q, N].
    """
    for group in (None, *range(GROUPS)):
        evidence = seen.evidence(group)
        for method in methods:
            found = method.function(evidence, damping or method.damping)
            if tuple(found.shape) != (len(seen.steps), len(seen.weights)):
                raise ConfigError(
                    f"The method {method.name!r} returned scores of shape {tuple(found.shape)}; expected [Q, N], here "
                    f"{(len(seen.steps), len(seen.weights))}."
                )
            totals[method].add(group, seen.ordered(found) * seen.weights)


@dataclass(frozen=True)
class Seen:
    """What one set of weights shows.

    Kernels see examples and queries in the order of their ids, so that the last bits don't depend on any other order.

    Attributes:
        examples: Features of the examples.
        queries: Features of the queries, or of all their steps.
        steps: Rows of each query, Q, in the order of their ids.
        lines: Place of each query that is wanted in that order, Q.
        columns: Place of each example that is wanted in the order of the ids, N.
        weights: What each example's scores are multiplied by, float64 [N]: 0 where training never saw it.
    """

    examples: Features
    queries: Features
    steps: tuple[tuple[int, ...], ...]
    lines: Tensor
    columns: Tensor
    weights: Tensor

    @classmethod
    def open(cls, look: Look, feature: Feature, examples: Sequence[str], queries: Sequence[str]) -> Seen:
        """Open the features of examples and of queries; of a query whose steps QUERY@TIMESTEP are there, of these."""
        found, asked = Features.open(look.examples, feature), Features.open(look.queries, feature)
        steps, trained = steps_of(asked.ids, queries), look.part.trained
        shares = dict.fromkeys(examples, 1.0) if trained is None else dict(trained)
        weights = [look.part.weight * shares.get(name, 0.0) for name in examples]
        return cls(
            found,
            asked,
            tuple(tuple(steps[name]) for name in sorted(queries)),
            _places(sorted(queries), queries),
            _places(found.ids, examples),
            torch.tensor(weights, dtype=torch.float64),
        )

    def evidence(self, without: int | None = None) -> FeaturePair:
        """Means over the draws, or over those outside of one group."""
        values = self.queries.mean(without)
        queries = torch.stack([values[list(rows)].mean(0) for rows in self.steps])
        return FeaturePair(self.examples.mean(without), queries, self.examples.loss(without), self.examples.widths)

    def ordered(self, scores: Tensor) -> Tensor:
        """Scores [Q, N] in the order in which they are wanted."""
        return scores[self.lines][:, self.columns]


def _places(order: Sequence[str], names: Sequence[str]) -> Tensor:
    """The place of each name in an order, [n]."""
    place = {name: n for n, name in enumerate(order)}
    return torch.tensor([place[name] for name in names])


def steps_of(ids: Sequence[str], queries: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows of each query: its own, or those of all its steps QUERY@TIMESTEP.

    Example:
        >>> steps_of(["a@1", "a@9", "b@1", "b@9"], ["b", "a"])
        {'b': [2, 3], 'a': [0, 1]}
    """
    found: dict[str, list[int]] = {name: [] for name in queries}
    for row, name in enumerate(ids):
        found[name if name in found else name.rsplit("@", 1)[0]].append(row)
    return found


def _estimand(work: Work, method: Method, looks: Sequence[Look]) -> Estimand:
    if looks[0].part.source:
        process = "the recorded steps of the training run, each to first order"
    else:
        step = "one damped Newton step" if method.damped else "one gradient step"
        over = "" if len(looks) == 1 else f", the mean over {len(looks)} sets of weights"
        process = f"{step} from these weights{over}"
    return Estimand(method.behaviour, "an example left out of training", process, work.target.fingerprint, "example")
