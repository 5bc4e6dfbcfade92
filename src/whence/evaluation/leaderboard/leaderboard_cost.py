"""The cost of a leaderboard: time from a small part that is measured, memory and disk by counting."""

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
from whence.engine import Engine
from whence.evaluation.leaderboard.board import Board, needs_drawn
from whence.evaluation.leaderboard.ensemble import training_config
from whence.evaluation.leaderboard.measure import unmeasured_sections


@dataclass(frozen=True)
class Rate:
    """The cost of gradients.

    Attributes:
        seconds: Seconds for one picture at one draw, by all methods, in all processes.
        memory: Bytes of memory in all.
        disk: Bytes for one picture.
    """

    seconds: float
    memory: int
    disk: float


def leaderboard_cost(board: Board, only: Sequence[str] = ()) -> Cost:
    """Return the cost of the sections that are not measured, from a batch of gradients and a few steps of training.

    Args:
        board: The leaderboard.
        only: Names of sections; default all.

    Raises:
        ConfigError: There is no such section.
    """
    sections, config, bank = unmeasured_sections(board, only), board.config, board.bank
    if not sections:
        return Cost(0.0, 0, 0, "nothing: all sections are there")
    rate = _rate(board, [method for method in board.methods if not needs_drawn(method)])
    examples, queries = len(bank.examples), len(bank.queries)
    is_made = (board.work / "draws" / f"{board.draws:05d}" / artefacts.MANIFEST).exists()
    seconds = 0.0 if is_made else (examples + queries) * board.draws * rate.seconds
    kept = 0.0 if is_made else (examples + queries) * rate.disk
    memory, removed = rate.memory, 0.0
    if "measures" in sections:
        rows = (config.traced + examples + queries / 4) * board.draws + 2 * examples * config.self_draws
        seconds += rows * rate.seconds + training_cost(bank.data, bank.config, engine=Engine(1)).seconds
        removed = 2 * examples * rate.disk
    if "ensemble" in sections:
        members = training_cost(
            bank.data, training_config(board, 0), members=2 * config.members, engine=Engine(board.workers)
        )
        pictures = (examples + config.ensemble_queries + 3 * config.samples) * config.members
        member = _rate(board, [method for method in board.methods if method.name in config.ensemble_methods])
        seconds += members.seconds + pictures * config.ensemble_draws * member.seconds
        removed, kept = max(removed, pictures * member.disk), kept + members.disk
        memory = max(memory, members.memory)
    return Cost(
        seconds=seconds,
        memory=memory,
        disk=int(kept + removed),
        work=f"{', '.join(sections)}, by {len(board.methods)} methods at {board.draws} draws for {queries} queries and "
        f"{examples:,} training images",
    )


def _rate(board: Board, methods: Sequence[Method]) -> Rate:
    """Measure the cost of gradients and scores."""
    with TemporaryDirectory() as scratch:
        plan = FeaturePlan.of(board.request(methods, board.draws, drawn=False))
        cost = attribution_cost(plan, FeatureStore(Path(scratch)), engine=Engine(board.workers))
    pictures = len(board.bank.examples) + len(board.bank.queries)
    return Rate(cost.seconds / pictures / board.draws, cost.memory, cost.disk / pictures)
