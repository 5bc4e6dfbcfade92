"""Run tasks in this process or in several on this machine.

A task is a module-level function with small arguments; what it makes is an artefact on disk. Every
process computes with one thread: small models are slower with more, and the last bits of a result
depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import functools
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
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

import torch

from whence.errors import InterruptedRunError

#: Modules that worker processes find imported.
PRELOADED = ["whence.diffusion.model"]
#: Called with (done, total) as work goes on.
Report = Callable[[int, int], None]


def silent(_done: int, _total: int) -> None:
    """A report that goes nowhere."""


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes:
        name: For messages; unique among the tasks of one run.
        function: A module-level function; called with `arguments` and ``report=``.
        arguments: Small values that can be sent to another process.
        size: How much work it is, in the units that it reports.
    """

    name: str
    function: Callable[..., object]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    size: int = 1


def workers_here() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> torch.device:
    """Where networks run: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, deterministically, and restore the settings afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _keep_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


@functools.cache
def _keep_memory() -> None:
    """Let the C library keep freed memory for the next step instead of asking the kernel for it again.

    Without this a training step on 8x8 images spends a tenth of its time on page faults, and two processes beside each
    other more than that. Only glibc has the setting; elsewhere nothing happens.
    """
    mmap_threshold, trim_threshold = (-3, 32 * 2**20), (-1, 2**30)
    try:
        library = ctypes.CDLL(None)
        for parameter, value in (mmap_threshold, trim_threshold):
            library.mallopt(parameter, value)
    except (OSError, AttributeError, TypeError):
        return


def run(tasks: Sequence[Task], *, workers: int | None = None, report: Report = silent) -> None:
    """Run all tasks; returns when each has ended well.

    Args:
        tasks: The work, started in this order.
        workers: Processes; default one for each core. With one, or one task, everything runs in
            this process.
        report: Called with (done, total), summed over the tasks in their units.

    Raises:
        InterruptedRunError: A worker process died.
    """
    workers = min(workers or workers_here(), len(tasks))
    done = dict.fromkeys((task.name for task in tasks), 0)
    total = sum(task.size for task in tasks)

    def note(name: str, amount: int) -> None:
        done[name] = amount
        report(sum(done.values()), total)

    if workers <= 1:
        with one_thread():
            for task in tasks:
                task.function(**task.arguments, report=lambda d, _t, n=task.name: note(n, d))
        return
    _run_in_processes(tasks, workers, note)


def _run_in_processes(tasks: Sequence[Task], workers: int, note: Callable[[str, int], None]) -> None:
    """Run tasks in worker processes, which a server forks: it imports the networks' libraries once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    messages = context.Queue()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (messages,))
    ended = threading.Event()
    reader = threading.Thread(target=_forward, args=(messages, note, ended), daemon=True)
    reader.start()
    try:
        with _without_main():
            futures = {pool.submit(_call, task): task for task in tasks}
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


def _wait(futures: Mapping[Future[None], Task]) -> None:
    """Wait for all tasks or the first error.

    Raises:
        InterruptedRunError: A worker process died.
    """
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


def _forward(messages: Any, note: Callable[[str, int], None], ended: threading.Event) -> None:
    """Pass on the workers' reports until all is quiet after the end; a killed worker can't block this."""
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


def _call(task: Task) -> None:
    """Run a task in a worker."""
    with one_thread():
        task.function(**task.arguments, report=lambda amount, _total: _messages.put((task.name, amount)))
