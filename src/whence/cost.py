"""What a command will cost, before paying: the type that all estimates share, and how time is measured."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Throughput:
    """What a training image costs, from which the cost of more images follows.

    Attributes:
        seconds: Time of an image in one process.
        disk: Bytes of an image that are kept.
        draws: Draws of each image.
        processes: Processes at work here.
        unit: What a process has: ``core`` or ``GPU``.
    """

    seconds: float
    disk: int
    draws: int
    processes: int
    unit: str

    @property
    def images(self) -> float:
        """Images a second, all processes together."""
        return self.processes / self.seconds

    def hours(self, count: int) -> float:
        """Hours of a core or GPU that so many images take."""
        return count * self.seconds / 3600


@dataclass(frozen=True)
class Cost:
    """The cost of a command.

    Attributes:
        seconds: Estimated time.
        memory: Estimated bytes of memory, all processes together.
        disk: Estimated bytes on disk when it is done.
        work: What it consists of, in words.
        throughput: What a training image costs; None where that was not measured.
    """

    seconds: float
    memory: int
    disk: int
    work: str
    throughput: Throughput | None = None

    def then(self, other: Cost) -> Cost:
        """Return the cost of this and of another command after it."""
        work, throughput = f"{self.work}; then {other.work}", self.throughput or other.throughput
        memory, disk = max(self.memory, other.memory), self.disk + other.disk
        return Cost(self.seconds + other.seconds, memory, disk, work, throughput)


def peak_memory() -> int:
    """Bytes of the most memory that this process has used so far; after a few steps of some work, what it needs."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@dataclass(frozen=True)
class ProcessMemory:
    """Memory of a process.

    Attributes:
        alone: Bytes that no other process holds.
        shared: Bytes that other processes hold too: libraries, and what a worker has from the server that forked it.
    """

    alone: int
    shared: int

    @classmethod
    def now(cls) -> ProcessMemory:
        """Return the memory that this process uses now."""
        memory = psutil.Process().memory_full_info()
        return cls(memory.uss, memory.rss - memory.uss)

    @classmethod
    def peak(cls) -> ProcessMemory:
        """Return the most memory that this process has used so far, by the bytes that it shares now."""
        shared = cls.now().shared
        return cls(peak_memory() - shared, shared)

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.alone + self.shared


def memory_together(worker: ProcessMemory, workers: int) -> int:
    """Return the bytes of this process as it is now and of some workers: what each has alone, and once what they share.

    The server that forks the workers counts by what it shares with them.
    """
    return ProcessMemory.now().alone + worker.shared + workers * worker.alone


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
