"""Work that a visitor asked for: one piece at a time, with progress."""

from __future__ import annotations

import itertools
import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from whence.engine import Engine
from whence.errors import InterruptedRunError, WhenceError
from whence.explore.request_error import RequestError

#: Pieces of work that may wait, and ended ones that are remembered.
WAITING, REMEMBERED = 20, 200


@dataclass(eq=False)
class Job:
    """A piece of work."""

    id: str  # its name in addresses
    title: str  # what is done, in words
    result: str  # address of the page that shows the result
    work: Callable[[Engine], object]  # does it; called once
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    done: int = 0  # how much is done, of `total`
    total: int = 0  # 0 where it is not known yet
    error: str = ""  # why it failed

    @property
    def ended(self) -> bool:
        """Whether it is done or failed."""
        return self.state in ("done", "failed")


@dataclass(eq=False)
class Jobs:
    """Jobs, which a thread does one after the other in the order in which they came."""

    by_id: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers, self._closed = itertools.count(1), threading.Event()
        self._lock = threading.Lock()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="explore jobs", daemon=True)
        self._thread.start()

    def add(self, title: str, result: str, work: Callable[[Engine], object]) -> Job:
        """Return the job for a result: the one that waits or runs already, or a new one.

        Raises:
            RequestError: Too many jobs wait.
        """
        with self._lock:
            open_jobs = [job for job in self.by_id.values() if not job.ended]
            for job in open_jobs:
                if job.result == result:
                    return job
            if len(open_jobs) > WAITING:
                raise RequestError(429, f"More than {WAITING} drawings wait already; ask again when some are done.")
            job = Job(str(next(self._numbers)), title, result, work)
            self.by_id[job.id] = job
            for old in [one.id for one in self.by_id.values() if one.ended][: len(self.by_id) - REMEMBERED]:
                del self.by_id[old]
        self._queue.put(job)
        return job

    def ahead_of(self, job: Job) -> int:
        """How many jobs are to end before this one begins."""
        jobs = list(self.by_id.values())
        return sum(not one.ended for one in jobs[: jobs.index(job)]) if job in jobs else 0

    def close(self, patience: float = 10.0) -> None:
        """End the thread; a running job stops at its next report and continues when it is asked for again."""
        self._closed.set()
        self._queue.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None and not self._closed.is_set():
            self._do(job)

    def _do(self, job: Job) -> None:
        def report(done: int, total: int) -> None:
            if self._closed.is_set():
                raise InterruptedRunError("The explorer was closed. What was finished is kept.")
            job.done, job.total = done, total

        job.state = "running"
        try:
            job.work(Engine(1, report))
        except WhenceError as error:
            job.state, job.error = "failed", str(error)
        except Exception:
            traceback.print_exc()
            job.state, job.error = "failed", "The work failed; the terminal of the explorer shows why."
        else:
            job.state = "done"
