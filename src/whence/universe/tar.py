"""Uncompressed tar files, listed and read in place: nothing is ever unpacked to disk.

The standard library parses the headers. It allows more than a universe file needs, so these are refused here: names
with folders, links, devices, sparse files, names that come twice, an archive that ends early.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from whence.errors import ArtefactError
from whence.tar_headers import FILE, headers, require_tar


class TarEntry(NamedTuple):
    """A file inside a tar: where its first byte is, and its size in bytes."""

    offset: int
    size: int


def open_file(path: Path) -> BinaryIO:
    """Return a file, open for reading, or raise ArtefactError if there is none."""
    if not path.is_file():
        raise ArtefactError(f"{path} is not there, or is not a file.")
    return path.open("rb")


def list_entries(path: Path) -> dict[str, TarEntry]:
    """Return the files in a tar by name. Only headers are read.

    Raises:
        ArtefactError: It is not an uncompressed tar, ends early, or has a member that is not a plain file with a plain
            name of its own.
    """
    entries: dict[str, TarEntry] = {}
    with open_file(path) as stream:
        require_tar(stream, path)
        for header, offset in headers(stream, path):
            name = header.name.removeprefix("./")
            if header.type == tarfile.DIRTYPE and name in ("", ".") and header.size == 0:
                continue
            _require_plain(path, header, name)
            if name in entries:
                raise ArtefactError(f"{path} has two members named {name!a}; every name may come once.")
            entries[name] = TarEntry(offset, header.size)
    return entries


def write_entry(stream: BinaryIO, name: str, data: bytes) -> None:
    """Append a file to a tar. The bytes depend on name and data alone (no time, no owner)."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    stream.write(header.tobuf(tarfile.USTAR_FORMAT))
    stream.write(data)
    stream.write(bytes(-len(data) % tarfile.BLOCKSIZE))


def write_end(stream: BinaryIO) -> None:
    """Append the two empty blocks that end a tar."""
    stream.write(bytes(2 * tarfile.BLOCKSIZE))


def _require_plain(path: Path, header: tarfile.TarInfo, name: str) -> None:
    if header.type not in FILE:
        kind = "link" if header.issym() or header.islnk() else "folder" if header.isdir() else "special file"
        raise ArtefactError(f"{path} has the {kind} {name!a}; a universe file holds plain files only.")
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise ArtefactError(f"{path} has a member named {header.name!a}; names without folders are expected.")
