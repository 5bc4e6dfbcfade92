"""The headers of uncompressed tar files, read in place and in a memory that doesn't grow with their number.

The standard library parses each header; it ends without a word where an archive is damaged, and here that is an error.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from whence.errors import ArtefactError

_BLOCK = tarfile.BLOCKSIZE
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
#: Types of members that are plain files.
FILE = (tarfile.REGTYPE, tarfile.AREGTYPE)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}
#: Longest header extension in bytes; a file name needs no more.
MAX_EXTENSION = 2**16


def require_tar(stream: BinaryIO, path: Path) -> None:
    """Check that a file begins like an uncompressed tar; an `ArtefactError` says what it is."""
    head = stream.read(_BLOCK)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        for magic, name in _COMPRESSED.items():
            if head.startswith(magic):
                raise ArtefactError(
                    f"{path} is compressed ({name}); an uncompressed tar is expected. Uncompress it first."
                ) from None
        raise ArtefactError(f"{path} is not a tar file: {error}.") from None


def headers(stream: BinaryIO, path: Path) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield every member's header and where its bytes begin, up to the empty block that ends a tar.

    Raises:
        ArtefactError: It is damaged or cut off, after the members that are whole.
    """
    size = stream.seek(0, os.SEEK_END)
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
        raise ArtefactError(f"{path} has a header extension with {refused[0]!a}, which is not read.")
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
