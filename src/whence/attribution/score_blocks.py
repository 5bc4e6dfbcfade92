"""Where scores of blocks of training examples come from: one term of the methods that share its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.influence_store import StoredInfluence
from whence.attribution.method import Method
from whence.attribution.term_blocks import TermBlocks, groups_together
from whence.attribution.term_features import Order, TermFeatures
from whence.errors import ConfigError

#: Scores of a block of examples by a method, from all draws or without a group of them, float64 [Q, n].
BlockScores = tuple[Method, int | None, Tensor]


class Source(Protocol):
    """A term of the scores of some methods."""

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods."""

    @property
    def order(self) -> Order:
        """Where queries and examples are in the request; all sources have the examples in one order."""

    @property
    def width(self) -> int:
        """Number of features, on which the size of a block depends."""

    @property
    def together(self) -> int:
        """For how many groups of draws it can be open at a time."""

    def open(self, groups: Sequence[int | None]) -> Reader:
        """Return a reader of scores from all draws, or without some groups of them."""


class Reader(Protocol):
    """Reads scores block by block."""

    def scores(self, rows: range) -> Iterator[BlockScores]:
        """Yield the weighted scores of a block of examples."""


@dataclass(frozen=True)
class FeatureSource:
    """Scores of a term from compressed gradients; see `Source`."""

    plan: FeaturePlan
    methods: tuple[Method, ...]
    features: TermFeatures

    @property
    def order(self) -> Order:
        """Where queries and examples are in the request."""
        return self.features.order

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(self.features.examples.widths)

    @property
    def together(self) -> int:
        """For how many groups the kernels are in memory together."""
        return groups_together(self.width)

    def open(self, groups: Sequence[int | None]) -> FeatureReader:
        """Return a reader, which holds the kernels of the groups once a method has asked for them."""
        return FeatureReader(self, TermBlocks(self.features, groups))


@dataclass(frozen=True)
class FeatureReader:
    """Scores from blocks of features; see `Reader`."""

    source: FeatureSource
    blocks: TermBlocks

    def scores(self, rows: range) -> Iterator[BlockScores]:
        """Yield the scores of a block by every method, for every group."""
        order, shape = self.source.order, (len(self.source.features.steps), len(rows))
        for group, pair in self.blocks.pairs(rows):
            for method in self.source.methods:
                (damping,) = self.source.plan.dampings_of(method)
                scores = method.function(pair, damping)
                if tuple(scores.shape) != shape:
                    raise ConfigError(
                        f"The method {method.name!r} returned scores of shape {tuple(scores.shape)}; expected [Q, N], "
                        f"here {shape} for a block of {len(rows)} examples."
                    )
                yield method, group, order.weighted_rows(scores, rows)


@dataclass(frozen=True)
class InfluenceSource:
    """Scores of a term by a method with curvature, which are on disk; source and reader in one."""

    method: Method
    damping: float
    order: Order
    stored: StoredInfluence
    groups: tuple[int | None, ...] = (None,)
    width: int = 1
    together: int = 8

    @property
    def methods(self) -> tuple[Method, ...]:
        """The method."""
        return (self.method,)

    def open(self, groups: Sequence[int | None]) -> InfluenceSource:
        """Return a reader of some groups."""
        return InfluenceSource(self.method, self.damping, self.order, self.stored, tuple(groups))

    def scores(self, rows: range) -> Iterator[BlockScores]:
        """Yield the scores of a block, for every group."""
        for group in self.groups:
            yield self.method, group, self.order.weighted_rows(self.stored.at(self.damping, group, rows), rows)


def score_sources(plan: FeaturePlan, store: FeatureStore) -> list[Source]:
    """Return the terms of the scores of a plan, whose features and influence are in a store.

    Raises:
        ArtefactError: Features are missing or damaged.
    """
    sources: list[Source] = [
        FeatureSource(plan, tuple(methods), TermFeatures.open(plan, store, *key))
        for key, methods in plan.shared.items()
    ]
    for method, terms in plan.curved.terms.items():
        (damping,) = plan.dampings_of(method)
        for term in terms:
            stored = store.scores(plan, term, method)
            order = Order.of(plan, term, plan.request.queries.ids, stored.queries, stored.examples)
            sources.append(InfluenceSource(method, damping, order, stored))
    return sources
