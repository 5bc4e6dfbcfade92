"""From features to the ends of scores, one block of training examples at a time.

Scores of a block need all other examples only by the kernel, which is made from their moments. So features are read
twice: for the moments, and for the scores, of which the K largest and smallest of each query stay, and the sums over
units. They are read twice again for the standard errors, which only what stayed needs; blocks of which nothing stayed
are left out then. A score is a sum over checkpoints: for the ends the kernels of all of them are in memory together,
for the errors those of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from whence.attribution.compute_scores import estimand
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.attribution.score_blocks import Source, score_sources
from whence.attribution.term_blocks import row_blocks
from whence.engine import DEFAULT, Engine
from whence.scores.ends import ScoreEnds
from whence.scores.jackknife import GROUPS
from whence.scores.make_ends import make_ends
from whence.scores.tally import Tally
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
    return {
        method.name: make_ends(
            tally,
            plan.query_ids(method),
            plan.request.examples.ids,
            units,
            top=top,
            method=method.name,
            estimand=estimand(plan, method),
            sign="positive is proponent" if method.signed else "unsigned",
            combine="sum" if method.additive else "max",
            draws=plan.request.config.draws,
        )
        for method, tally in tallies.items()
    }


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
