"""The right to write an artefact, held by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from whence.errors import LockedError


@contextmanager
def lock(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the only right to write `path`; the lock is freed when this process ends, however it ends.

    Args:
        path: The directory to be written; the lock is a hidden file ``.NAME.lock`` beside it.
        patience: Seconds to wait for another writer.

    Raises:
        LockedError: Another process holds the lock, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        held.acquire(timeout=patience)
    except NotImplementedError as error:
        raise LockedError(
            f"The file system of {path} has no file locks ({error}), so two writers could not be kept apart. Use a "
            "directory on another file system, such as a local disk."
        ) from None
    except filelock.Timeout:
        raise LockedError(
            f"{path} is being written by another process. Wait for it to finish, or use another directory."
        ) from None
    try:
        yield
    finally:
        held.release()
