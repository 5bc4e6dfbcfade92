"""Processes on this machine: the start of workers, and the one thread that every process computes with.

A server process imports the networks' libraries once and forks the workers, so a worker starts in milliseconds.
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
from contextlib import contextmanager, suppress
from multiprocessing import connection
from typing import Any

from whence.errors import InterruptedRunError
from whence.lazy import torch

#: Modules that worker processes find imported.
PRELOADED = ["whence.diffusion.model"]
#: Called with (name of the work, amount done).
Note = Callable[[str, int], None]
#: Does a piece of work, and notes how much of it is done; it can be sent to another process.
Work = Callable[[Note], object]


def run_in_processes(
    works: Sequence[tuple[str, Work]], workers: int, note: Note, devices: Sequence[str] = ("cpu",)
) -> list[Any]:
    """Return the results of all named works, which worker processes do, started in this order.

    `note` is called in this process, which first gives the memory that it has freed back to the system. Workers take
    the devices in turn; `worker_device` is that of the worker.

    Raises:
        InterruptedRunError: A worker process died.
    """
    return_freed_memory()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    messages, places = context.Queue(), context.SimpleQueue()
    for number in range(workers):
        places.put(devices[number % len(devices)])
    pool = ProcessPoolExecutor(workers, context, _start_worker, (messages, places))
    ended = threading.Event()
    reader = threading.Thread(target=_forward, args=(messages, note, ended), daemon=True)
    reader.start()
    try:
        with _without_main():
            futures = _submit(pool, works)
        return _results(futures)
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


def _submit(pool: ProcessPoolExecutor, works: Sequence[tuple[str, Work]]) -> dict[Future[Any], str]:
    """Give the works to the workers, of which one may die before all are given."""
    futures: dict[Future[Any], str] = {}
    try:
        for name, work in works:
            futures[pool.submit(_do, work)] = name
        pool.submit(int)  # The pool watches a worker from the next call of submit on; this watches the last one.
    except BrokenProcessPool:
        raise _lost_worker([name for future, name in futures.items() if not future.done()] or [works[0][0]]) from None
    return futures


def _results(futures: Mapping[Future[Any], str]) -> list[Any]:
    """Return the results of all works, or raise the first error."""
    done, pending = wait(futures, return_when=FIRST_EXCEPTION)
    try:
        for future in done:
            future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise _lost_worker([futures[future] for future in (pending or done)]) from None


def _lost_worker(names: Sequence[str]) -> InterruptedRunError:
    """Return the error that a worker died, in one of some works."""
    return InterruptedRunError(
        f"A worker process was killed or ran out of memory (around {min(names)}). What was finished is kept: "
        "run the same command again to continue, with fewer --workers if memory was short."
    )


def _forward(messages: Any, note: Note, ended: threading.Event) -> None:
    """Pass on the workers' notes until all is quiet after the end; a killed worker can't block this."""
    while True:
        try:
            note(*messages.get(timeout=0.2))
        except queue.Empty:
            if ended.is_set():
                return


_messages: Any = None
_device: str | None = None


def worker_device() -> str | None:
    """Return the device that this worker process was given; None in a process that is no worker."""
    return _device


def _start_worker(messages: Any, places: Any) -> None:
    """Prepare a worker process, and take the next device; the parent alone answers Ctrl-C."""
    global _messages, _device
    _messages, _device = messages, places.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker at once when its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _do(work: Work) -> object:
    """Do a work in a worker process."""
    return work(lambda name, amount: _messages.put((name, amount)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread and deterministic kernels, for the same last bits; restore the settings afterwards.

    PyTorch doesn't fill memory that is about to be overwritten, as it does by default beside deterministic kernels.
    A GPU computes float32 as float32, without the 10 bits of TF32. Of a kernel that can't be deterministic there, torch
    says so in a warning.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    cudnn: Any = torch.backends.cudnn
    parts = (cudnn.conv, cudnn.rnn)
    precisions = [part.fp32_precision for part in parts]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _keep_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False
    _set_precisions(parts, ["ieee"] * len(parts))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warned)
        memory.fill_uninitialized_memory = filled
        _set_precisions(parts, precisions)


def _set_precisions(parts: Sequence[Any], precisions: Sequence[str]) -> None:
    """Set how exactly some parts of cuDNN compute float32."""
    for part, precision in zip(parts, precisions, strict=True):
        part.fp32_precision = precision


@functools.cache
def _keep_memory() -> None:
    """Let the C library (glibc alone) keep freed memory; else a tenth of a small training step goes on page faults."""
    mmap_threshold, trim_threshold = (-3, 32 * 2**20), (-1, 2**30)
    try:
        library = ctypes.CDLL(None)
        for parameter, value in (mmap_threshold, trim_threshold):
            library.mallopt(parameter, value)
    except (OSError, AttributeError, TypeError):
        return


def return_freed_memory() -> None:
    """Give the memory that this process has freed back to the system.

    `_keep_memory` would keep that of the C library (glibc alone), and Arrow its own.
    """
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
