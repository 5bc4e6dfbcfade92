"""A folder as kohya's trainer reads it without a file of settings: ``kohya:FOLDER`` with sub-folders N_NAME.

The images of ``10_cat`` are visited ten times in an epoch. Their captions are text files beside them, or else ``cat``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from whence.data.dataset import Dataset
from whence.data.read_options import ReadOptions
from whence.data.splits import DEFAULT, choose
from whence.data.trainer_subset import Subset, raw_examples
from whence.errors import DataError, join_names

#: What the name of the data begins with.
PREFIX = "kohya:"
#: How the names of caption files end.
EXTENSIONS = (".txt", ".caption")
_NAME = re.compile(r"(\d+)_(.*)", re.DOTALL)


def parse_name(name: str) -> tuple[int, str] | None:
    """Return repeats and class tokens of the name of a folder; None where it names no repeats.

    Example:
        >>> parse_name("10_sks cat"), parse_name("2_my_style"), parse_name("cats"), parse_name("0_cat")
        ((10, 'sks cat'), (2, 'my_style'), None, (0, 'cat'))
    """
    match = _NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def name_notes(path: Path, folders: Collection[str]) -> tuple[str, ...]:
    """Return a note on a folder that is read as it is, if the names of all its sub-folders are of the form N_NAME."""
    if not folders or not all(map(parse_name, folders)):
        return ()
    return (
        f"The names of the folders, such as {min(folders)}, look like repeats and class tokens of kohya's trainer. "
        f"They are read as classes. Give {PREFIX}{path} to read repeats and captions as the trainer does.",
    )


def read_trainer_folder(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return the images of the sub-folders N_NAME, with N in proportion to their weights.

    Columns for units are ``subset`` (the folder) and ``class_tokens``. Folders of other names, and those of 0 repeats,
    are left out by the trainer too, and a note names them.

    Raises:
        DataError: There is no folder, none is named N_NAME, or images have two kinds of caption files.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder. {PREFIX}FOLDER is a folder with sub-folders such as 10_cat.")
    choose({DEFAULT: path}, split, str(path))
    folders = sorted(folder.name for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    named = {name: parsed for name in folders if (parsed := parse_name(name)) and parsed[0] > 0}
    if not named:
        there = join_names(folders) or "none"
        raise DataError(f"{path} has no sub-folder named REPEATS_NAME, such as 10_cat; it has {there}.")
    subsets = [Subset(path / name, repeats, tokens or None) for name, (repeats, tokens) in named.items()]
    extension = _extension(subsets)
    subsets = [Subset(one.folder, one.repeats, one.class_tokens, extension=extension) for one in subsets]
    left = [name for name in folders if name not in named]
    notes = (f"Folders without repeats in their names were left out: {join_names(left)}.",) if left else ()
    return raw_examples([subsets], path, None, notes).dataset(options)


def _extension(subsets: Sequence[Subset]) -> str | None:
    """The extension of the caption files that lie beside images; the trainer takes one for all."""
    found = dict[str, str]()
    for subset in subsets:
        images, others = subset.files
        stems = {Path(name).stem for name in images}
        for name in others:
            if Path(name).suffix in EXTENSIONS and Path(name).stem in stems:
                found.setdefault(Path(name).suffix, f"{subset.folder.name}/{name}")
    if len(found) > 1:
        raise DataError(
            f"There are two kinds of caption files ({join_names(list(found.values()))}), and the trainer reads one. "
            "Name it as caption_extension in a file of settings, FILE.toml, and give that file."
        )
    return next(iter(found), None)
