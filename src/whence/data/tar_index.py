"""Where the parts of examples are in tar files: members of one name, such as ``0001.jpg``, ``0001.txt``, ``0001.json``.

Only headers, captions and tables are read here, member by member; what is kept is names and places. Nothing is unpacked
to disk, and members that could run a program when they are read (pickles) are never opened.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from whence.data.image_files import EXTENSIONS
from whence.errors import ArtefactError, DataError
from whence.tar_headers import FILE, headers, require_tar

#: Endings of the members of an example by what they are; an image has one of `IMAGES`.
IMAGES = tuple(ending.removeprefix(".") for ending in (*EXTENSIONS, ".avif", ".heic", ".jp2", ".jfif"))
CAPTION, TABLE, CLASS = "txt", "json", "cls"
#: Endings of members that are pickled, or may be.
PICKLED = ("pickle", "pkl", "pyd", "pt", "pth", "npy", "npz")
#: Largest caption or table in bytes.
LONGEST = 2**20


class Place(NamedTuple):
    """Where a member is: the number of its tar, its first byte and its size in bytes."""

    tar: int
    offset: int
    size: int


class Places(Sequence[Place | None]):
    """Places of members, some of which are not there: a few bytes for each.

    Example:
        >>> places = Places()
        >>> places.append(Place(0, 512, 100))
        >>> places.append(None)
        >>> places[0], list(places), len(places)
        (Place(tar=0, offset=512, size=100), [Place(tar=0, offset=512, size=100), None], 2)
    """

    def __init__(self) -> None:
        self._numbers = array("q")

    def append(self, place: Place | None) -> None:
        """Add a place, or None where there is no member."""
        self._numbers.extend(place or (-1, 0, 0))

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def __getitem__(self, n: Any) -> Any:
        place = Place(*self._numbers[3 * n : 3 * n + 3])
        return None if place.tar < 0 else place

    def __iter__(self) -> Iterator[Place | None]:
        return (self[n] for n in range(len(self)))


@dataclass
class TarIndex:
    """The examples of several tars, in the order of the tars and of the members in them.

    Attributes:
        paths: The tars.
        keys: What the members of each example have in common (N).
        images: Where the image of each is (N).
        captions: The text of its caption member (N); None without one.
        classes: The text of its class member (N); None without one.
        tables: Where its table is (N); None without one.
        columns: The names in all tables.
        broken: Why an example, or the rest of a tar, can't be read, by its name.
        unread: Names of members that are no part of an example.
    """

    paths: tuple[Path, ...]
    keys: list[str] = field(default_factory=list)
    images: Places = field(default_factory=Places)
    captions: list[str | None] = field(default_factory=list)
    classes: list[str | None] = field(default_factory=list)
    tables: Places = field(default_factory=Places)
    columns: dict[str, None] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> TarIndex:
        """Return the index of some tars.

        Raises:
            DataError: A file is not there or no uncompressed tar, or a tar has no whole example.
        """
        index = cls(tuple(paths))
        for number, path in enumerate(paths):
            before = len(index.keys)
            try:
                with path.open("rb") as stream:
                    require_tar(stream, path)
                    for key, parts in index._parts(stream, number).items():
                        index._add(stream, number, key, parts)
            except (OSError, ArtefactError) as error:
                raise DataError(f"{path} cannot be read: {error}") from None
            if len(index.keys) == before:
                reason = next(reversed(index.broken.values()), "its members are no images")
                raise DataError(
                    f"{path} has no example that can be read: {reason.rstrip('.')}. Restore it, or move it away."
                )
        return index

    @property
    def names(self) -> Sequence[str]:
        """What messages call the examples, each made when it is asked for."""
        return _Names(self)

    def name(self, n: int) -> str:
        """What messages call example n."""
        return f"{self.paths[self.images[n].tar].name}: {self.keys[n]}"

    def table(self, stream: BinaryIO, place: Place) -> dict[str, Any]:
        """Return a table, which is a JSON object; a `ValueError` if it is none."""
        found = json.loads(_text(stream, place))
        if not isinstance(found, dict):
            raise ValueError("its table is no JSON object")
        return found

    def _parts(self, stream: BinaryIO, number: int) -> dict[str, dict[str, Place]]:
        """The places of members by key and ending; what is after a damage is noted as broken."""
        parts: dict[str, dict[str, Place]] = {}
        path, key, lost = self.paths[number], "", dict[str, str]()
        try:
            for header, offset in headers(stream, path):
                key, ending = split_name(header.name)
                if header.isdir():
                    continue
                if header.type not in FILE or ending not in (*IMAGES, CAPTION, TABLE, CLASS):
                    self.unread.append(header.name)
                    continue
                own = parts.setdefault(key, {})
                if ending in own:
                    lost[key] = f"{path} has two members {header.name}."
                own[ending] = Place(number, offset, header.size)
        except ArtefactError as error:
            self.broken[f"the rest of {path.name}"] = str(error)
            if key in parts:
                lost[key] = f"{path} is damaged in or after its example {key}, of which members may be missing."
        self.broken |= {f"{path.name}: {name}": reason for name, reason in lost.items()}
        return {name: own for name, own in parts.items() if name not in lost}

    def _add(self, stream: BinaryIO, number: int, key: str, parts: dict[str, Place]) -> None:
        """Add an example, or note why it can't be read."""
        images = [ending for ending in IMAGES if ending in parts]
        try:
            if len(images) != 1:
                raise ValueError("it has no image" if not images else f"it has two images, {' and '.join(images)}")
            texts = [_text(stream, parts[kind]).strip() if kind in parts else None for kind in (CAPTION, CLASS)]
            columns = self.table(stream, parts[TABLE]) if TABLE in parts else {}
        except (ValueError, RecursionError) as error:
            name = f"{self.paths[number].name}: {key}"
            self.broken[name] = f"{name} cannot be read: {error}."
            return
        self.keys.append(key)
        self.images.append(parts[images[0]])
        self.captions.append(texts[0])
        self.classes.append(texts[1])
        self.tables.append(parts.get(TABLE))
        self.columns |= dict.fromkeys(columns)


class _Names(Sequence[str]):
    def __init__(self, index: TarIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index.keys)

    def __getitem__(self, n: Any) -> Any:
        return self._index.name(n)

    def __iter__(self) -> Iterator[str]:
        return map(self._index.name, range(len(self)))


def split_name(name: str) -> tuple[str, str]:
    """Return key and ending of a member, split at the first point of its file name; hidden files have no ending.

    Example:
        >>> split_name("a/0001.JPG"), split_name("./0001.seg.png"), split_name("._0001.jpg")
        (('a/0001', 'jpg'), ('0001', 'seg.png'), ('._0001.jpg', ''))
    """
    name = name.removeprefix("./")
    folder, slash, file = name.rpartition("/")
    stem, point, ending = file.partition(".")
    return (folder + slash + stem, ending.lower()) if stem and point else (name, "")


def read_members(paths: Sequence[Path], places: Sequence[Place | None]) -> Iterator[tuple[BinaryIO, Place] | None]:
    """Yield each place with the open tar that it is in; None where there is no place. One tar is open at a time."""
    stream: BinaryIO | None = None
    number = -1
    try:
        for place in places:
            if place is None:
                yield None
                continue
            if place.tar != number or stream is None:
                if stream is not None:
                    stream.close()
                stream, number = paths[place.tar].open("rb"), place.tar
            yield stream, place
    except OSError as error:
        raise DataError(f"{paths[number]} cannot be read any more: {error.strerror}.") from None
    finally:
        if stream is not None:
            stream.close()


def read_bytes(stream: BinaryIO, place: Place) -> bytes:
    """Return the bytes of a member; a `DataError` if the disk fails."""
    try:
        stream.seek(place.offset)
        return stream.read(place.size)
    except OSError as error:
        raise DataError(f"{getattr(stream, 'name', 'A tar')} cannot be read any more: {error.strerror}.") from None


def _text(stream: BinaryIO, place: Place) -> str:
    """The text of a member; a `ValueError` if it is too long or not in UTF-8."""
    if place.size > LONGEST:
        raise ValueError(f"a text of it has {place.size:,} bytes; at most {LONGEST:,} are read")
    return read_bytes(stream, place).decode("utf-8-sig")
