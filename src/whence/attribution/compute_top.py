"""From features to the ends of scores, one block of training examples at a time.

Scores of a block need all other examples only by the kernel, which is made from their moments. So features are read
twice: for the moments, and for the scores, of which the K largest and smallest of each query stay, and the sums over
units. They are read twice again for the standard errors, which only what stayed needs; blocks of which nothing stayed
are left out then. A score is a sum over checkpoints: for the ends the kernels of all of them are in memory together,
for the errors those of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from whence.attribution.compute_scores import estimand
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.score_blocks import Source, score_sources
from whence.attribution.tally import Tally
from whence.attribution.term_blocks import row_blocks
from whence.engine import DEFAULT, Engine
from whence.scores.ends import ScoreEnds
from whence.scores.jackknife import GROUPS
from whence.scores.scores import Scores
from whence.scores.table import end_ranks, rows_of
from whence.scores.unit_totals import Membership, are_examples


def compute_top(plan: FeaturePlan, store: FeatureStore, top: int, *, engine: Engine = DEFAULT) -> dict[str, ScoreEnds]:
    """Compute the K largest and smallest scores of every query, and the scores of units, by all methods of a plan.

    They are those of `compute_scores`, whose whole matrix [Q, N] is never there. Standard errors of sums over units are
    exact here; there they are of deviations that are kept in half precision.

    Args:
        plan: The plan.
        store: The store, after it was extended by the plan.
        top: K.
        engine: Its report is called with (blocks done, blocks in all).

    Returns:
        The ends of the scores by name of the method.

    Raises:
        ConfigError: A method refuses its damping, its function returns something else than scores [Q, n], or a kernel
            of so many features does not fit into memory.
        ArtefactError: Features are missing or damaged.
    """
    units = plan.request.units
    membership = None if are_examples(units) else Membership.of(units)
    tallies = {
        method: Tally.of(len(plan.query_ids(method)), top, membership, signed=method.signed, additive=method.additive)
        for method in plan.terms
    }
    sources, steps = score_sources(plan, store), _Steps(engine)
    steps.expect(sources)
    _add_scores(sources, tallies, steps)
    for source in sources:
        _add_errors(source, tallies, steps)
    return {method.name: _ends(plan, method, top, tally, membership) for method, tally in tallies.items()}


class _Steps:
    """Reports blocks: those of the ends, and those of the errors of every source."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._done, self._total = engine, 0, 0

    def expect(self, sources: Sequence[Source]) -> None:
        """Set the total: all blocks for the ends, and all of every source and part of the groups for the errors."""
        self._total = len(_blocks(sources))
        self._total += sum(len(_blocks([source])) * len(_group_parts(source)) for source in sources)

    def one(self) -> None:
        """Report one block more."""
        self._done += 1
        self._engine.report(self._done, self._total)


def _blocks(sources: Sequence[Source]) -> list[range]:
    return row_blocks(len(sources[0].order.columns), max(source.width for source in sources)) if sources else []


def _group_parts(source: Source) -> list[range]:
    """Return the groups of draws in parts for which the kernels are in memory together."""
    return [range(g, min(g + source.together, GROUPS)) for g in range(0, GROUPS, source.together)]


def _add_scores(sources: Sequence[Source], tallies: Mapping[Method, Tally], steps: _Steps) -> None:
    """Add the scores from all draws, which are sums over all sources of a method."""
    readers = [source.open([None]) for source in sources]
    for rows in _blocks(sources):
        totals: dict[Method, Tensor] = {}
        for reader in readers:
            for method, _, scores in reader.scores(rows):
                totals[method] = totals[method] + scores if method in totals else scores
        positions = sources[0].order.positions[rows.start : rows.stop]
        for method, total in totals.items():
            tallies[method].add(total, positions)
        steps.one()


def _add_errors(source: Source, tallies: Mapping[Method, Tally], steps: _Steps) -> None:
    """Add the scores of a source without each group of draws, of the blocks that matter."""
    for groups in _group_parts(source):
        reader = source.open(groups)
        for rows in _blocks([source]):
            positions = source.order.positions[rows.start : rows.stop]
            if any(tallies[method].wants(positions) for method in source.methods):
                for method, group, scores in reader.scores(rows):
                    if group is not None:
                        tallies[method].add_without(group, scores, positions)
            steps.one()


def _ends(plan: FeaturePlan, method: Method, top: int, tally: Tally, membership: Membership | None) -> ScoreEnds:
    """Return what a tally has kept, with its standard errors and the names of examples and units."""
    queries, (largest, smallest, of_units) = plan.query_ids(method), tally.errors()
    errors = largest if smallest is None else torch.cat([largest, smallest.flip(1)], 1)
    return ScoreEnds(
        table=pa.concat_tables([_rows(plan, method, tally, q, errors[q]) for q in range(len(queries))]),
        queries=queries,
        examples=len(plan.request.examples),
        count=top,
        method=method.name,
        estimand=estimand(plan, method),
        sign="positive is proponent" if method.signed else "unsigned",
        combine="sum" if method.additive else "max",
        draws=plan.request.config.draws,
        units=None if membership is None else _unit_scores(plan, method, tally, of_units, membership),
    )


def _rows(plan: FeaturePlan, method: Method, tally: Tally, q: int, errors: Tensor) -> pa.Table:
    """Return the rows of one query; errors are those of its largest scores and of its smallest ones, outermost last."""
    request, largest, smallest = plan.request, tally.largest, tally.smallest
    values, positions, below = largest.values[q], largest.positions[q], 0
    if smallest is not None:
        below = int((smallest.values[q].float() < 0).sum())
        values = torch.cat([values, smallest.values[q].flip(0)])
        positions = torch.cat([positions, smallest.positions[q].flip(0)])
    first = largest.values.shape[1]
    ranks = end_ranks(len(request.examples), first, below)
    kept = np.concatenate([np.arange(first), np.arange(len(values) - len(ranks) + first, len(values))])
    scores = values.float().double().numpy()[kept] + 0.0  # + 0.0: there is no -0
    names = [[each[n] for n in positions[kept].tolist()] for each in (request.examples.ids, request.units)]
    error = errors.float().double().numpy()[kept]
    return rows_of(plan.query_ids(method)[q], ranks + 1, names[0], names[1], scores, error, method.signed)


def _unit_scores(
    plan: FeaturePlan, method: Method, tally: Tally, errors: Tensor | None, membership: Membership
) -> Scores:
    """Return the scores of all units."""
    values = tally.sums or tally.most
    assert values is not None
    return Scores(
        scores=values.values.float(),
        queries=plan.query_ids(method),
        examples=membership.names,
        units=tuple((name,) for name in membership.names),
        method=method.name,
        estimand=replace(estimand(plan, method), units="unit"),
        sign="positive is proponent" if method.signed else "unsigned",
        combine="sum" if method.additive else "max",
        standard_error=None if errors is None else errors.float(),
        draws=plan.request.config.draws,
    )
