"""What a leaderboard will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from whence import artefacts
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.cost import Cost
from whence.diffusion.training_cost import training_cost
from whence.evaluation.leaderboard.board import Board, needs_drawn
from whence.evaluation.leaderboard.ensemble import training_config
from whence.evaluation.leaderboard.measure import missing


@dataclass(frozen=True)
class Rate:
    """What gradients cost.

    Attributes:
        seconds: For one picture at one draw, by all methods that were asked about, in all processes.
        memory: Bytes of memory in all.
        disk: Bytes for one picture.
    """

    seconds: float
    memory: int
    disk: float


def leaderboard_cost(board: Board, only: Sequence[str] = ()) -> Cost:
    """Cost of the sections that are missing, from a batch of gradients and a few steps of training.

    Args:
        board: The leaderboard.
        only: Names of sections; default all.

    Returns:
        The plan.

    Raises:
        ConfigError: There is no such section.
    """
    sections, config, bank = missing(board, only), board.config, board.bank
    if not sections:
        return Cost(0.0, 0, 0, "nothing: all sections are there")
    rate = _rate(board, [one for one in board.methods if not needs_drawn(one)])
    examples, queries = len(bank.examples), len(bank.queries)
    made = board.work / "draws" / f"{board.draws:05d}" / artefacts.MANIFEST
    seconds = 0.0 if made.exists() else (examples + queries) * board.draws * rate.seconds
    kept = 0.0 if made.exists() else (examples + queries) * rate.disk
    memory, passing = rate.memory, 0.0
    if "measures" in sections:
        rows = (config.traced + examples + queries / 4) * board.draws + 2 * examples * config.self_draws
        seconds += rows * rate.seconds + training_cost(bank.data, bank.config, workers=1).seconds
        passing = 2 * examples * rate.disk
    if "ensemble" in sections:
        own = training_cost(bank.data, training_config(board, 0), members=2 * config.members, workers=board.workers)
        asked = examples + config.ensemble_queries + 3 * config.samples
        member = _rate(board, [one for one in board.methods if one.name in config.ensemble_methods])
        seconds += own.seconds + asked * config.members * config.ensemble_draws * member.seconds
        passing, kept = max(passing, asked * config.members * member.disk), kept + own.disk
        memory = max(memory, own.memory)
    return Cost(
        seconds=seconds,
        memory=memory,
        disk=int(kept + passing),
        work=f"{', '.join(sections)}, by {len(board.methods)} methods at {board.draws} draws for {queries} queries and "
        f"{examples:,} training images",
    )


def _rate(board: Board, methods: Sequence[Method]) -> Rate:
    """Measure what gradients and scores cost."""
    with TemporaryDirectory() as scratch:
        plan = FeaturePlan.of(board.request(methods, board.draws, drawn=False))
        found = attribution_cost(plan, FeatureStore(Path(scratch)), workers=board.workers)
    pictures = len(board.bank.examples) + len(board.bank.queries)
    return Rate(found.seconds / pictures / board.draws, found.memory, found.disk / pictures)
