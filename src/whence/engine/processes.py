"""Worker processes on this machine.

A server process imports the networks' libraries once and forks the workers, so a worker starts in milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Protocol

from whence.errors import InterruptedRunError

#: Modules that worker processes find imported.
PRELOADED = ["whence.diffusion.model"]
#: Called with (name of the work, amount done).
Note = Callable[[str, int], None]


class Work(Protocol):
    """A named piece of work that can be sent to another process."""

    @property
    def name(self) -> str:
        """Unique among the works of one call."""

    def __call__(self, note: Note) -> object:
        """Do the work, and note how much of it is done."""


def run_in_processes(works: Sequence[Work], workers: int, note: Note) -> None:
    """Do all works in worker processes.

    Args:
        works: What to do, started in this order.
        workers: Processes.
        note: Called in this process as work goes on.

    Raises:
        InterruptedRunError: A worker process died.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    messages = context.Queue()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (messages,))
    ended = threading.Event()
    reader = threading.Thread(target=_forward, args=(messages, note, ended), daemon=True)
    reader.start()
    try:
        with _without_main():
            futures = {pool.submit(_do, work): work for work in works}
            pool.submit(int)  # The pool watches a worker from the next call of submit on; this watches the last one.
        _wait(futures)
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        ended.set()
        reader.join(timeout=5.0)  # A worker that was killed while it wrote leaves half a message to wait for.


@contextmanager
def _without_main() -> Iterator[None]:
    """Start workers that don't import the caller's script: tasks live in modules, and a script needs no guard."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


def _wait(futures: Mapping[Future[None], Work]) -> None:
    """Wait for all works or the first error."""
    done, pending = wait(futures, return_when=FIRST_EXCEPTION)
    try:
        for future in done:
            future.result()
    except BrokenProcessPool:
        names = sorted(futures[future].name for future in (pending or done))
        raise InterruptedRunError(
            f"A worker process was killed or ran out of memory (around {names[0]}). What was finished is kept: "
            "run the same command again to continue, with fewer --workers if memory was short."
        ) from None


def _forward(messages: Any, note: Note, ended: threading.Event) -> None:
    """Pass on the workers' notes until all is quiet after the end; a killed worker can't block this."""
    while True:
        try:
            note(*messages.get(timeout=0.2))
        except queue.Empty:
            if ended.is_set():
                return


_messages: Any = None


def _start_worker(messages: Any) -> None:
    """Prepare a worker process; the parent alone answers Ctrl-C."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker at once when its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _do(work: Work) -> None:
    """Do a work in a worker process."""
    work(lambda name, amount: _messages.put((name, amount)))
