"""Tar files as webdataset reads and img2dataset writes them: ``{00000..00012}.tar``, a folder of tars, or one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from whence.data.address import path_of
from whence.data.columns import CLASS_COLUMN, rename
from whence.data.dataset import Dataset
from whence.data.files import list_files
from whence.data.image_files import is_image
from whence.data.other_files import left_out
from whence.data.raw_examples import RawExamples, ReadOptions, broken_notes
from whence.data.splits import DEFAULT, choose
from whence.data.tar_index import PICKLED, TarIndex, read_bytes, read_members, split_name
from whence.errors import DataError, join_names

ENDING = ".tar"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
#: Columns of the members that are texts.
_TEXT = "text"
#: Most tars that a pattern may stand for.
MOST = 1_000_000


def is_pattern(name: str) -> bool:
    """Return whether a name stands for several tars, such as ``{00000..00012}.tar``."""
    return name.endswith(ENDING) and _RANGE.search(name) is not None


def expand(pattern: str) -> list[Path]:
    """Return the tars of a pattern with ranges of numbers; those that begin with 0 keep their length.

    Raises:
        DataError: A range is empty or very long, or some of the tars are not there.

    Example:
        >>> [path.name for path in _names("data/{08..10}.tar")]
        ['08.tar', '09.tar', '10.tar']
    """
    paths = _names(pattern)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{pattern} stands for {len(paths):,} tars, and {len(missing):,} are not there: {join_names(missing)}."
        )
    return paths


def _names(pattern: str) -> list[Path]:
    parts = _RANGE.split(pattern)
    ranges = list(zip(parts[1::3], parts[2::3], strict=True))
    count = 1
    for first, last in ranges:
        count *= max(0, int(last) - int(first) + 1)
    if not 0 < count <= MOST:
        raise DataError(f"{pattern} stands for {count:,} tars; 1 to {MOST:,} are expected. Write {{FIRST..LAST}}.")
    numbers = [[str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)] for first, last in ranges]
    texts = parts[::3]
    return [
        path_of("".join([texts[0], *itertools.chain.from_iterable(zip(chosen, texts[1:], strict=True))]))
        for chosen in itertools.product(*numbers)
    ]


def tar_files(path: Path) -> list[Path]:
    """The tars directly in a folder in the order of their names, or the tar itself."""
    if path.is_file():
        return [path] if path.name.lower().endswith(ENDING) else []
    return sorted(file for file in path.glob("[!.]*") if file.name.lower().endswith(ENDING) and file.is_file())


def read_tar_folder(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return the examples of the tars in a folder, which are one data set, or of one tar.

    Raises:
        DataError: There are images beside the tars; or as `read_tars`.
    """
    tars = tar_files(path)
    others = [name for name in list_files(path, path) if path / name not in tars] if path.is_dir() else []
    images = [name for name in others if is_image(path / name)]
    if images:
        raise DataError(
            f"{path} has both tars and images ({join_names(images)}). Give the folder or the tar that is meant."
        )
    return read_tars(tars, str(path), split, options, left_out(others))


def read_tars(
    paths: Sequence[Path], where: str, split: str | None, options: ReadOptions, notes: tuple[str, ...] = ()
) -> Dataset:
    """Return the examples of some tars in the order of the tars and their members; an id is the key of the members.

    An example is an image with a caption (``.txt``), columns (``.json``) and a class (``.cls``), where they are there.
    One that is broken is left out and named, and so is what follows a damage in a tar.

    Raises:
        DataError: A file is no uncompressed tar or has no example that can be read, or keys repeat.
    """
    choose({DEFAULT: where}, split, where)
    index = TarIndex.of(paths)
    found = (*notes, *broken_notes(index.broken), *_unread_notes(index.unread))
    columns, images = TarColumns(index, where), TarImages(index)
    return RawExamples(index.keys, index.names, images, columns, notes=found, skip_broken=True).dataset(options)


def _unread_notes(names: Sequence[str]) -> tuple[str, ...]:
    """Notes on members that are no part of an example; pickles are counted by themselves."""
    pickled = [name for name in names if split_name(name)[1].rpartition(".")[2] in PICKLED]
    rest = set(pickled)
    notes = left_out([name for name in names if name not in rest])
    if pickled:
        notes += (
            f"{len(pickled):,} members that may be pickled, such as {pickled[0]}, were not opened: reading one could "
            "run a program.",
        )
    return notes


class TarImages:
    """The images of tars, which can be read again; one is in memory at a time."""

    def __init__(self, index: TarIndex) -> None:
        self._index = index

    def __iter__(self) -> Iterator[bytes]:
        for member in read_members(self._index.paths, self._index.images):
            assert member is not None  # Every example has an image.
            yield read_bytes(*member)


class TarColumns(Mapping[str, list[object]]):
    """The columns of tars by name. Those of tables are read when they are used; in memory are the names alone."""

    def __init__(self, index: TarIndex, where: str) -> None:
        self._index = index
        members = {_TEXT: index.captions, CLASS_COLUMN: index.classes}
        self._members = {name: values for name, values in members.items() if any(value for value in values)}
        names = rename(index.columns, where)
        self._names = {name: there for name, there in names.items() if name not in (*self._members, "id")}

    def __iter__(self) -> Iterator[str]:
        return itertools.chain(self._members, self._names)

    def __len__(self) -> int:
        return len(self._members) + len(self._names)

    def __getitem__(self, name: str) -> list[object]:
        if name in self._members:
            return list(self._members[name])
        there, index = self._names[name], self._index
        members = read_members(index.paths, index.tables)
        try:
            return [None if member is None else index.table(*member).get(there) for member in members]
        except (ValueError, RecursionError):
            raise DataError("A tar changed while it was read. Read the data again.") from None
