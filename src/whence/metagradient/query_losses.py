"""The losses of queries as functions of the weights: the results whose derivative is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from whence.diffusion.examples import Examples
from whence.diffusion.visits import Visits
from whence.gradients.batch_rows import count_tokens, suitable_batch
from whence.gradients.draw_sources import DrawSource
from whence.metagradient.weighted_loss import WeightedLoss


class Results(Protocol):
    """Results of a run, R(θ), of the averaged weights at its end."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in messages."""

    def __len__(self) -> int:
        """Their number, R."""

    def values(self, theta: Tensor) -> Tensor:
        """Return the results at the weights θ [P], float64 [R]."""

    def gradients(self, theta: Tensor) -> Tensor:
        """Return ∂R/∂θ at the weights θ [P], [R, P]."""


@dataclass(frozen=True, eq=False)
class QueryLosses:
    """L_q(θ), the mean denoising loss of each query over its draws.

    Attributes:
        loss: The loss of a batch, by the network of the run.
        queries: The queries, Q of them.
        source: Their draws.
        draws: Number of draws of each query.
    """

    loss: WeightedLoss
    queries: Examples
    source: DrawSource
    draws: int

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the queries."""
        return self.queries.ids

    def values(self, theta: Tensor) -> Tensor:
        """Return L_q at the weights θ [P], float64 [Q]."""
        return self._mean(lambda visits: self.loss.losses(theta, visits).double().mean())

    def gradients(self, theta: Tensor) -> Tensor:
        """Return ∂L_q/∂θ at the weights θ [P], [Q, P]."""
        return self._mean(lambda visits: self.loss.gradient(theta, visits, torch.ones(len(visits.ids)).to(theta)))

    def _mean(self, function: Callable[[Visits], Tensor]) -> Tensor:
        """The mean of a function over the draws of each query, [Q, ...]."""
        return torch.stack(
            [
                torch.stack([function(visits) * (len(visits.ids) / self.draws) for visits in self._visits(row)]).sum(0)
                for row in range(len(self.queries))
            ]
        )

    def _visits(self, row: int) -> Iterator[Visits]:
        """Yield the draws of a query, a batch at a time."""
        size = suitable_batch(self.queries.size, count_tokens(self.queries.conditions))
        for first in range(0, self.draws, size):
            index = np.arange(first, min(first + size, self.draws))
            rows, ids = np.full(len(index), row), [self.queries.ids[row]] * len(index)
            t, noise = self.source(ids, index, self.queries.size)
            conditions = self.source.conditions(self.queries.conditions_of(rows), ids, index)
            x = self.source.x(self.queries, rows, index)
            yield Visits(rows, index, ids, x, t, noise, conditions, np.zeros(len(index), bool))


@dataclass(frozen=True, eq=False)
class GroupLosses:
    """L_g(θ), the mean over the queries of each group of their losses L_q(θ).

    Attributes:
        losses: The losses of the queries.
        groups: Rows of the queries of each group, by its name.
    """

    losses: QueryLosses
    groups: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(self.groups)

    def values(self, theta: Tensor) -> Tensor:
        """Return L_g at the weights θ [P], float64 [G]."""
        return torch.stack([part.values(theta).mean() for part in self._parts])

    def gradients(self, theta: Tensor) -> Tensor:
        """Return ∂L_g/∂θ at the weights θ [P], [G, P]."""
        return torch.stack([part.gradients(theta).mean(0) for part in self._parts])

    @cached_property
    def _parts(self) -> list[QueryLosses]:
        """The losses of each group's queries."""
        return [
            replace(self.losses, queries=self.losses.queries.select(rows.tolist())) for rows in self.groups.values()
        ]
