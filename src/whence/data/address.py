"""Addresses of data on other file systems, such as ``s3://bucket/data/{00000..00999}.tar``, by fsspec.

They are read in place and never written to. What is read of a tar is its headers, captions and tables, and then one
image after another; of a Parquet file a few rows at a time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from whence.errors import DataError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")


def is_address(name: str | Path) -> bool:
    """Return whether a name is an address of fsspec.

    Example:
        >>> is_address("s3://bucket/0.tar"), is_address("simplecache::https://a.org/0.tar"), is_address("data/0.tar")
        (True, True, False)
    """
    return _ADDRESS.match(str(name)) is not None


def path_of(name: str) -> Path:
    """Return the path of a name: on this machine, or at an address, where it can be listed and opened all the same.

    Raises:
        DataError: There is no such kind of address, or the package for it is not installed.
    """
    if not is_address(name):
        return Path(name)
    import fsspec  # takes a while, which other data needn't wait for
    import upath

    try:
        fsspec.core.url_to_fs(name)
        path = upath.UPath(name)
    except (ImportError, ValueError, TypeError) as error:
        raise DataError(
            f"{name} can't be opened: {error}. Addresses are those of fsspec; most need a package of their own, such "
            "as s3fs for s3:// and gcsfs for gs://."
        ) from None
    return cast(Path, path)


def file_system(path: Path) -> Any:
    """Return the file system of fsspec that a path is on; None for one of this machine."""
    return None if isinstance(path, Path) else getattr(path, "fs", None)


def inner_path(path: Path) -> str:
    """Return the name of a file in its file system."""
    return str(getattr(path, "path", path))
