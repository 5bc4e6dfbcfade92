"""The features of a term of scores, and where its queries and examples are among those of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from whence.attribution.feature_pair import FeaturePair
from whence.attribution.feature_plan import FeaturePlan, Term
from whence.attribution.feature_store import FeatureStore
from whence.attribution.training_ridge import AUTO, TrainingRidge
from whence.gradients.features import Feature, outside
from whence.gradients.stored_features import StoredFeatures


@dataclass(frozen=True)
class Order:
    """Where the queries and examples of a request are among those of stored scores, and the weights of its examples.

    Attributes:
        lines: Place of each query, Q.
        columns: Place of each example, N.
        positions: The place in the request of each stored example, int64 [N].
        weights: What the scores of each example are multiplied by, float64 [N]: the weights of the checkpoint and of
            the example in the loss, and 0 where it was not trained on.
    """

    lines: Tensor
    columns: Tensor
    positions: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls, plan: FeaturePlan, term: Term, query_ids: Sequence[str], queries: Sequence[str], examples: Sequence[str]
    ) -> Order:
        """Return the places of the queries with these ids, and of the examples of the plan, in two orders of ids."""
        request, trained = plan.request, term.checkpoint.trained
        ids, order = request.examples.ids, request.example_order
        if len(order) == len(examples) and all(ids[n] == name for n, name in zip(order, examples, strict=True)):
            columns, positions = torch.from_numpy(request.example_places), torch.from_numpy(order)
        else:
            columns = _places(examples, ids)
            positions = columns.argsort()
        if trained is None:
            shares = request.example_weights
        else:
            of_run = dict(trained)
            shares = torch.tensor([of_run.get(name, 0.0) for name in ids], dtype=torch.float64)
        weights = shares if term.checkpoint.weight == 1 else term.checkpoint.weight * shares
        return cls(_places(queries, query_ids), columns, positions, weights)

    def weighted(self, scores: Tensor) -> Tensor:
        """Return stored scores [Q, N] in the order of the request, times the weights."""
        return scores[self.lines][:, self.columns] * self.weights

    def weighted_rows(self, scores: Tensor, rows: range) -> Tensor:
        """Return stored scores [Q, n] of consecutive stored examples, with the queries of the request, times weights.

        The examples stay in their stored order.
        """
        return scores[self.lines] * self.weights[self.positions[rows.start : rows.stop]]


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
        population: Number of examples that the weights stand for; None for as many as there are.
    """

    examples: StoredFeatures
    queries: StoredFeatures
    steps: tuple[tuple[int, ...], ...]
    order: Order
    weights: Tensor | None = None
    ridge: TrainingRidge | None = None
    population: int | None = None

    @classmethod
    def open(
        cls, plan: FeaturePlan, store: FeatureStore, term: Term, feature: Feature, query_ids: tuple[str, ...]
    ) -> TermFeatures:
        """Open the features of examples and queries; those of its steps for a query whose steps are there."""
        examples = store.features(plan, term.examples, feature)
        queries = store.features(plan, term.queries, feature)
        steps, in_order = query_rows(queries.ids, query_ids), sorted(query_ids)
        order = Order.of(plan, term, query_ids, in_order, examples.ids)
        known, population = plan.request.example_weights, plan.request.population
        if population is not None:
            known = known * torch.tensor([population.weights[name] for name in plan.request.examples.ids])
        weights = None if (known == 1).all() else known.float()[order.positions]
        ridge = TrainingRidge.of(term.checkpoint) if plan.request.config.damping == AUTO else None
        size = None if population is None else population.size
        return cls(examples, queries, tuple(tuple(steps[name]) for name in in_order), order, weights, ridge, size)

    @property
    def shape(self) -> tuple[int, int]:
        """(Q, N)."""
        return len(self.steps), len(self.order.columns)

    def pair(self, without: int | None = None) -> FeaturePair:
        """Return the means over the draws, or over the draws outside of one group."""
        examples, losses, widths = self.examples.mean(without), self.examples.loss(without), self.examples.widths
        units = self.units(layer_squares(examples, widths), float(losses.double().mean()), without)
        return FeaturePair(
            examples,
            self.query_means(without),
            losses,
            widths,
            weights=self.weights,
            units=units,
            population=self.population,
        )

    def query_means(self, without: int | None = None) -> Tensor:
        """Return the means of the queries over the draws, and over their steps, [Q, p]."""
        values = self.queries.mean(without)
        return torch.stack([values[list(rows)].mean(0) for rows in self.steps])

    def units(self, squares: Sequence[float], mean_loss: float, without: int | None = None) -> tuple[float, ...]:
        """Return λ of every layer at the damping 1, from what `TrainingRidge.units` takes; () where it is no ridge."""
        if self.ridge is None:
            return ()
        draws = int(outside(self.examples.draws, without).sum())
        return self.ridge.units(squares, mean_loss, self.examples.count, draws)


def layer_squares(examples: Tensor, widths: Sequence[int]) -> list[float]:
    """Return Σ_n ‖φ_ln‖² of every layer of features [N, p]."""
    return [float(part.double().square().sum()) for part in torch.split(examples, list(widths), 1)]


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
