"""The right to write an artefact, held by one process at a time."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from whence.errors import ArtefactError, LockedError

#: What a file system without locks, or whose server of locks is not running, says.
WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def lock(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the only right to write `path`; the lock is freed when this process ends, however it ends.

    Args:
        path: The directory to be written; the lock is a hidden file ``.NAME.lock`` beside it.
        patience: Seconds to wait for another writer; `math.inf` to wait until it ends.

    Raises:
        LockedError: Another process holds the lock.
        ArtefactError: The file system has no locks.
        OSError: The directory can't be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path.with_name(f".{path.name}.lock"), fallback_to_soft=False)
    try:
        held.acquire(timeout=patience)
    except filelock.Timeout:
        raise LockedError(
            f"{path} is being written by another process. Wait for it to finish, or use another directory."
        ) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        raise ArtefactError(
            f"The file system of {path} has no file locks ({error}), so two writers could not be kept apart. Use a "
            "directory on another file system, such as a local disk."
        ) from None
    try:
        yield
    finally:
        held.release()


@contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Yield whether this process holds the only right to write `path`, until the block ends; see `lock`."""
    with ExitStack() as stack:
        free = True
        try:
            stack.enter_context(lock(path))
        except LockedError:
            free = False
        yield free
