"""The files of a folder that are no images, and the folders without any: what is told of them, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from whence.data.files import list_folders
from whence.data.image_files import FORMATS
from whence.errors import DataError, join_names

#: Files that lie beside images and are none: a folder of them alone lacks no pictures.
_SIDE_FILES = re.compile(
    r".*\.(txt|caption|json|jsonl|csv|tsv|xml|yaml|yml|toml|ini|cfg|md|rst|html|htm|log|db|py|ipynb|sh)"
    r"|(readme|license|licence|copying|notice|authors|changelog|makefile)(\..*)?",
    re.IGNORECASE,
)


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


def other_notes(base: Path, images: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Return notes on the files below `base` that are no images, and on folders without any image.

    Raises:
        DataError: A folder has files that may be pictures, and none of them can be read.
    """
    empty = _folders_without_images(base, images, others)
    stems = {str(PurePosixPath(name).with_suffix("")) for name in images}
    captions = [
        name for name in others if name.lower().endswith((".txt", ".caption")) and name[: name.rfind(".")] in stems
    ]
    beside = set(captions)
    notes = left_out([name for name in others if name not in beside])
    if captions:
        notes += (
            f"Text files beside the images were not read as captions ({len(captions):,}, such as {captions[0]}). "
            f"Pass --caption-column {PurePosixPath(captions[0]).suffix} to read them.",
        )
    return notes + ((f"Folders without an image: {join_names(empty)}.",) if empty else ())


def _folders_without_images(base: Path, images: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the folders below `base` with no image in or below them: a class or contributor may be missing.

    Raises:
        DataError: One of them has files that may be pictures. Only files that are known to lie beside images are none.
    """
    read = {str(folder) for name in images for folder in PurePosixPath(name).parents}
    unread = [
        name
        for name in others
        if str(PurePosixPath(name).parent) not in read and not _SIDE_FILES.fullmatch(PurePosixPath(name).name)
    ]
    if unread:
        folders = list(dict.fromkeys(str(PurePosixPath(name).parent) for name in unread))
        raise DataError(
            f"{base}: no file in {join_names(folders)} can be read as an image, such as {join_names(unread)}. Readable "
            f"are {', '.join(FORMATS)} (HEIF with the package pillow-heif). Convert the files, or move the folder away "
            "to leave it out."
        )
    return [folder for folder in list_folders(base) if folder not in read]
