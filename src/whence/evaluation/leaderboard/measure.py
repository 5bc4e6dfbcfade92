"""Measuring the leaderboard: section by section, each written as soon as it is measured.

WORK/lds.json ...    the sections
WORK/*/              what they are made of, from which an interrupted run continues
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from whence import artefacts
from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.method import Method
from whence.cost import Cost
from whence.diffusion.training import training_cost
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.evaluation.leaderboard.board import Board, needs_drawn
from whence.evaluation.leaderboard.deletion import DELETION
from whence.evaluation.leaderboard.development import CHOICES
from whence.evaluation.leaderboard.ensemble import ENSEMBLE, training_config
from whence.evaluation.leaderboard.measures import MEASURES
from whence.evaluation.leaderboard.prediction import CALIBRATION, DETERMINISTIC_LDS, DRAWS, LDS
from whence.evaluation.leaderboard.scores import RUNTIME
from whence.evaluation.leaderboard.sections import Section, SectionSpec, is_measured, read_section, write_section
from whence.evaluation.queries import DEVELOPMENT

ABLATION = SectionSpec(
    name="ablation",
    title="The way to the default method",
    question="The steps in order, each with the LDS that it gives, plain and squared, and what it costs. The command "
    "above doesn't measure this part again.",
    measure=None,
)
#: The sections, in the order of the page.
SECTIONS = {
    spec.name: spec
    for spec in (LDS, CHOICES, DRAWS, DETERMINISTIC_LDS, DELETION, MEASURES, CALIBRATION, ENSEMBLE, RUNTIME, ABLATION)
}
#: These are measured first, in this order: other sections use the features and scores that they make.
FIRST = ("choices", "lds", "draws", "deterministic", "runtime")
#: What measures each section, in the order of measuring.
MEASURED = {name: function for name in [*FIRST, *SECTIONS] if (function := SECTIONS[name].measure)}


def measure(board: Board, only: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None) -> None:
    """Measure the sections that are not there, and tell of each in a line; after an interruption it continues."""
    names = unmeasured_sections(board, only)
    claim_folder(board)
    for name in names:
        start = time.perf_counter()
        section = MEASURED[name](board)
        section = section.model_copy(update={"seconds": round(time.perf_counter() - start, 1)})
        write_section(board.work, section, inputs_of(board, name))
        tell(f"{name}: {len(section.rows)} rows, {section.seconds:.0f} s")


def unmeasured_sections(board: Board, only: Sequence[str] = ()) -> list[str]:
    """Return the sections to measure, in this order: not there, or measured on something else."""
    for name in only:
        if name not in MEASURED:
            raise ConfigError(f"There is no section {name!r}; there are {', '.join(MEASURED)}.")
    names = [name for name in MEASURED if name in only or not only]
    return [name for name in names if not is_measured(board.work, name, inputs_of(board, name))]


def inputs_of(board: Board, name: str) -> dict[str, Any]:
    """Return what a section is measured on: the bank, its pools and removals as they are now, and the settings."""
    spec, root = SECTIONS[name], board.bank.path
    folders = {path for pool in (DEVELOPMENT, *spec.pools) for path in artefacts.whole(root / "pools", pool)}
    folders |= {*artefacts.whole(root / "removals", "*")} if spec.removals else set()
    parts = {
        str(path.relative_to(root)): artefacts.read_json(path / artefacts.MANIFEST)["fingerprint"] for path in folders
    }
    return {
        "bank": board.bank.manifest.fingerprint,
        "parts": dict(sorted(parts.items())),
        "settings": board.config.record(),
        "version": spec.version,
    }


def claim_folder(board: Board) -> None:
    """Note in the folder of which bank the leaderboard is; raise MismatchError if it is of another bank."""
    note, fingerprint = board.work / "leaderboard.json", board.bank.manifest.fingerprint
    claimed = artefacts.read_json(note).get("bank") if note.exists() else fingerprint
    if claimed != fingerprint:
        raise MismatchError(
            f"{board.work} holds the leaderboard of another bank: fingerprint {str(claimed)[:12]}, {board.bank.path} "
            f"is {fingerprint[:12]}. Use another --work, or delete this one."
        )
    if not note.exists():
        artefacts.write_json(note, {"bank": fingerprint})


def read_sections(work: Path) -> dict[str, Section]:
    """Return the measured sections of a folder by name, in the order of the page; ArtefactError if there is none."""
    sections = {name: section for name in SECTIONS if (section := read_section(work, name))}
    if not sections:
        raise ArtefactError(
            f"Nothing was measured in {work}: none of {', '.join(SECTIONS)} (.json) is there. `whence leaderboard` "
            "measures them."
        )
    return sections


@dataclass(frozen=True)
class Rate:
    """Cost of gradients by all methods: seconds per picture and draw, bytes of memory, bytes of disk per picture."""

    seconds: float
    memory: int
    disk: float


def leaderboard_cost(board: Board, only: Sequence[str] = ()) -> Cost:
    """Return the cost of the sections that are not measured, from a batch of gradients and a few training steps."""
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
