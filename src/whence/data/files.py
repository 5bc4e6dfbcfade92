"""The files of a folder, in the same order on every file system. Files outside of it are refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from whence.errors import DataError


def list_files(base: Path, root: Path) -> list[str]:
    """List the files below `base`, hidden ones left out.

    Args:
        base: The folder to list.
        root: The folder that no link may lead out of; `base` or a folder above it.

    Returns:
        Paths relative to `base`, with ``/``, in byte order.

    Raises:
        DataError: A link points out of `root`, or to a directory; or a folder can't be listed.
    """
    outermost = root.resolve()
    names: list[str] = []
    for folder, folders, files in os.walk(base, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [Path(folder, name) for name in files if not name.startswith(".")]
        for path in (*(Path(folder, name) for name in folders), *visible):
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(outermost)):
                raise DataError(f"{path} is a link to {path.readlink()}. Put a copy in its place.")
        names += [path.relative_to(base).as_posix() for path in visible]
    return sorted(names, key=os.fsencode)


def left_out(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the files that were not read: how many of each extension, with an example of each.

    Example:
        >>> left_out(["a.txt", "x/b.txt", "LICENSE"])
        ('Files that are no images were left out: 2 .txt (such as a.txt), 1 without extension (such as LICENSE).',)
    """
    by_suffix: dict[str, list[str]] = {}
    for name in names:
        by_suffix.setdefault(PurePosixPath(name).suffix.lower() or "without extension", []).append(name)
    counts = [f"{len(files):,} {suffix} (such as {files[0]})" for suffix, files in by_suffix.items()]
    return (f"Files that are no images were left out: {', '.join(counts)}.",) if counts else ()


def _fail(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}.")
