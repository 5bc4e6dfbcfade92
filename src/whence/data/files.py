"""The files of a folder, in the same order on every file system. Files outside of it are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from whence.data.address import file_system, inner_path
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
    system = file_system(base)
    if system is not None:
        return _list_files_at(system, base)
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


def _list_files_at(system: Any, base: Path) -> list[str]:
    """List the files below a folder at an address, hidden ones left out."""
    folder = inner_path(base).rstrip("/") + "/"
    names = [name.removeprefix(folder) for name in system.find(inner_path(base))]
    return sorted((n for n in names if not any(part.startswith(".") for part in n.split("/"))), key=os.fsencode)


def list_folders(base: Path) -> list[str]:
    """List the folders below `base`, hidden ones left out.

    Returns:
        Paths relative to `base`, with ``/``, in byte order.

    Raises:
        DataError: A folder can't be listed.
    """
    names: list[str] = []
    for folder, folders, _ in os.walk(base, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [Path(folder, name).relative_to(base).as_posix() for name in folders]
    return sorted(names, key=os.fsencode)


def _fail(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}.")
