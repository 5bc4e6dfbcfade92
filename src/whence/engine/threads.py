"""One thread and deterministic kernels: the last bits of a result depend on both."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, deterministically, and restore the settings afterwards.

    Small models are slower with more threads.
    """
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
