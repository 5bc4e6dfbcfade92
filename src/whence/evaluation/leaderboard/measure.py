"""Measuring the leaderboard: section by section, each kept as soon as it is there.

WORK/lds.json ...    the sections
WORK/*/              what they are made of, from which an interrupted run continues
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.errors import ConfigError, MismatchError
from whence.evaluation.bank.bank import Bank
from whence.evaluation.leaderboard.board import Board
from whence.evaluation.leaderboard.calibration import calibration_section
from whence.evaluation.leaderboard.choices import choices_section
from whence.evaluation.leaderboard.deletion import deletion_section
from whence.evaluation.leaderboard.deterministic import POOLS, deterministic_section
from whence.evaluation.leaderboard.draws import draws_section
from whence.evaluation.leaderboard.ensemble import ensemble_section
from whence.evaluation.leaderboard.figures import is_measured, write_section
from whence.evaluation.leaderboard.lds import POOL, lds_section
from whence.evaluation.leaderboard.measures import measures_section
from whence.evaluation.leaderboard.runtime import runtime_section
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.tuning import DEVELOPMENT


@dataclass(frozen=True)
class Step:
    """A section to be measured.

    Attributes:
        function: Measures it.
        version: Of what it measures; raised when that changes, so that it is measured again.
        pools: Pools of the bank that it looks at.
        removals: Whether it looks at the removals that the bank comes with.
    """

    function: Callable[[Board], Section]
    version: int = 1
    pools: tuple[str, ...] = ()
    removals: bool = False


#: The sections, in the order in which they are measured.
STEPS = {
    "choices": Step(choices_section),
    "lds": Step(lds_section, pools=(POOL,)),
    "draws": Step(draws_section, pools=(POOL,)),
    "deterministic": Step(deterministic_section, pools=tuple(POOLS.values())),
    "runtime": Step(runtime_section, version=2),
    "deletion": Step(deletion_section, removals=True),
    "measures": Step(measures_section),
    "calibration": Step(calibration_section, pools=(POOL,)),
    "ensemble": Step(ensemble_section, version=2),
}


def measure(board: Board, only: Sequence[str] = (), told: Callable[[str], None] = lambda _: None) -> None:
    """Measure the sections that are not there yet; killed, it continues.

    Args:
        board: The leaderboard.
        only: Names of sections; default all.
        told: Called with a line for each section.

    Raises:
        ConfigError: There is no such section.
        MismatchError: The folder holds a leaderboard of another bank.
    """
    wanted = missing(board, only)
    require_own(board)
    for name in wanted:
        start = time.perf_counter()
        found = STEPS[name].function(board)
        found = found.model_copy(update={"seconds": round(time.perf_counter() - start, 1)})
        write_section(board.work, found, inputs_of(board, name))
        told(f"{name}: {len(found.rows)} rows, {found.seconds:.0f} s")


def missing(board: Board, only: Sequence[str] = ()) -> list[str]:
    """Return the sections that are not there, or were measured on something else, in order.

    Raises:
        ConfigError: There is no such section.
    """
    for name in only:
        if name not in STEPS:
            raise ConfigError(f"There is no section {name!r}; there are {', '.join(STEPS)}.")
    return [n for n in STEPS if (n in only or not only) and not is_measured(board.work, n, inputs_of(board, n))]


def inputs_of(board: Board, name: str) -> dict[str, Any]:
    """What a section is measured on: the bank, its pools and removals as they are now, and the settings."""
    step, root = STEPS[name], board.bank.path
    wanted = {path for pool in (DEVELOPMENT, *step.pools) for path in artefacts.whole(root / "pools", pool)}
    wanted |= {*artefacts.whole(root / "removals", "*")} if step.removals else set()
    parts = {
        str(path.relative_to(root)): artefacts.read_json(path / artefacts.MANIFEST)["fingerprint"] for path in wanted
    }
    return {
        "bank": board.bank.manifest.fingerprint,
        "parts": dict(sorted(parts.items())),
        "settings": board.config.record(),
        "version": step.version,
    }


def require_own(board: Board) -> None:
    """Note of which bank the folder is; it must not be of another.

    Raises:
        MismatchError: It holds a leaderboard of another bank.
    """
    note = board.work / "leaderboard.json"
    mine = board.bank.manifest.fingerprint
    theirs = artefacts.read_json(note).get("bank") if note.exists() else mine
    if theirs != mine:
        raise MismatchError(
            f"{board.work} holds the leaderboard of another bank: fingerprint {str(theirs)[:12]}, {board.bank.path} is "
            f"{mine[:12]}. Use another --work, or delete this one."
        )
    if not note.exists():
        artefacts.write_json(note, {"bank": mine})


def opened(bank: str | Path, work: Path, **settings: Any) -> Board:
    """Return the leaderboard of a bank; see `Board` for further settings."""
    return Board(Bank.open(bank), work, **settings)
