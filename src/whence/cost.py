"""What a command will cost, before paying: the type that all estimates share, and how time is measured."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The cost of a command.

    Attributes:
        seconds: Estimated time.
        memory: Estimated bytes of memory, all processes together.
        disk: Estimated bytes on disk when it is done.
        work: What it consists of, in words.
    """

    seconds: float
    memory: int
    disk: int
    work: str


def peak_memory() -> int:
    """Bytes of the most memory that this process has used so far; after a few steps of some work, what it needs."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def counted(processes: int) -> str:
    """A number of processes in words."""
    return f"{processes} process{'es' if processes > 1 else ''}"


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
