"""Uncompressed tar files, listed and read in place: nothing is ever unpacked to disk.

The standard library parses the headers. It allows more than a universe file needs, so these are refused here: names
with folders, links, devices, sparse files, names that come twice, an archive that ends early.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from whence.errors import ArtefactError

_BLOCK = tarfile.BLOCKSIZE
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
_FILE = (tarfile.REGTYPE, tarfile.AREGTYPE)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}
#: Longest header extension in bytes; a file name needs no more.
MAX_EXTENSION = 2**16


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
        _require_tar(stream, path)
        for header, offset in _headers(stream, path):
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
    stream.write(bytes(-len(data) % _BLOCK))


def write_end(stream: BinaryIO) -> None:
    """Append the two empty blocks that end a tar."""
    stream.write(bytes(2 * _BLOCK))


def _require_tar(stream: BinaryIO, path: Path) -> None:
    head = stream.read(_BLOCK)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        for magic, name in _COMPRESSED.items():
            if head.startswith(magic):
                raise ArtefactError(
                    f"{path} is compressed ({name}); a universe file is an uncompressed tar. Uncompress it first."
                ) from None
        raise ArtefactError(f"{path} is not a tar file: {error}.") from None


def _headers(stream: BinaryIO, path: Path) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield every member's header and where its bytes begin, up to the empty block that ends a tar."""
    size = os.fstat(stream.fileno()).st_size
    position, long_name = 0, None
    while True:
        stream.seek(position)
        block = stream.read(_BLOCK)
        if len(block) == _BLOCK and not any(block) and long_name is None:
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError, OverflowError) as error:
            raise ArtefactError(
                f"{path} is damaged or cut off: {error} at byte {position:,}, where a member or the end must be."
            ) from None
        position += _BLOCK
        if header.size < 0 or position + header.size > size:
            raise ArtefactError(
                f"{path} is damaged or cut off: {header.name!a} at byte {position:,} claims {header.size:,} bytes, the "
                f"whole file has {size:,}."
            )
        if header.type in _EXTENDED:
            long_name = _extension(stream, path, header) or long_name
        else:
            header.name, long_name = long_name or header.name, None
            yield header, position
        position += header.size + -header.size % _BLOCK


def _extension(stream: BinaryIO, path: Path, header: tarfile.TarInfo) -> str | None:
    """Return the name that a header extension gives to the next member; an ArtefactError if it gives more than that."""
    if header.size > MAX_EXTENSION:
        raise ArtefactError(f"{path} has a header extension of {header.size:,} bytes; {MAX_EXTENSION:,} are allowed.")
    data = stream.read(header.size)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    records = _records(data, path)
    refused = [key for key in records if key == "size" or key.startswith("GNU.sparse")]
    if header.type == tarfile.XGLTYPE and "path" in records:
        refused.append("path")
    if refused:
        raise ArtefactError(f"{path} has a header extension with {refused[0]!a}, which no universe file needs.")
    return records.get("path")


def _records(data: bytes, path: Path) -> dict[str, str]:
    """The content of a pax header: records "LENGTH KEY=VALUE" that end with a line feed; LENGTH counts the record."""
    records: dict[str, str] = {}
    while data:
        digits = data.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 6 else 0
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not key or not equals or not value.endswith(b"\n") or length > len(data):
            raise ArtefactError(f"{path} is damaged: {data[:20]!r} is not a record of a header extension.")
        records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[length:]
    return records


def _require_plain(path: Path, header: tarfile.TarInfo, name: str) -> None:
    if header.type not in _FILE:
        kind = "link" if header.issym() or header.islnk() else "folder" if header.isdir() else "special file"
        raise ArtefactError(f"{path} has the {kind} {name!a}; a universe file holds plain files only.")
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise ArtefactError(f"{path} has a member named {header.name!a}; names without folders are expected.")
