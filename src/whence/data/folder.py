"""A folder of images in the layout of Hugging Face's ``imagefolder``.

Images lie directly in the folder or in sub-folders, whose names are classes. Above them there may be
the folders ``train``, ``validation`` and ``test``. A metadata file may give captions, classes, ids and units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from whence.data.dataset import Dataset
from whence.data.files import list_files
from whence.data.metadata import FILE_COLUMN, METADATA_FILES, Row, find_metadata, read_metadata
from whence.data.pixels import EXTENSIONS, is_image
from whence.data.raw_examples import RawExamples, ReadOptions, as_text
from whence.data.splits import CANONICAL, DEFAULT, choose
from whence.errors import DataError, join_names


@dataclass(frozen=True)
class _Listing:
    """The images of one split."""

    base: Path  # the split's folder
    images: list[str]  # paths relative to it, in byte order
    others: int  # how many files are no images


def read_folder(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return the images of one split, in the byte order of their ids.

    An id is the path relative to the split's folder, or the value of the metadata column ``id``.

    Raises:
        DataError: There is no image, a file is damaged or points out of the folder, or metadata
            and images don't match.
    """
    splits = _splits(path)
    base = choose(splits, split or DEFAULT, str(path))
    listing = _list_images(base, path)
    if not listing.images:
        raise DataError(
            f"{base} has no images ({listing.others} other files). "
            f"Images are files that end in {', '.join(EXTENSIONS)}."
        )
    metadata = find_metadata(base) or find_metadata(path)
    columns = _columns(listing, metadata) if metadata else _folder_names(listing.images)
    return _examples(listing, columns, _outside_notes(path, splits)).dataset(options)


def _splits(path: Path) -> dict[str, Path]:
    """Return the folder of each split; without any, the whole folder is ``train``.

    Raises:
        DataError: Two folders are the same split.
    """
    folders: dict[str, Path] = {}
    for name, split in CANONICAL.items():
        if (path / name).is_dir():
            if split in folders:
                raise DataError(f"{path} has {folders[split].name} and {name} for one split. Keep one of them.")
            folders[split] = path / name
    return folders or {DEFAULT: path}


def _list_images(base: Path, root: Path) -> _Listing:
    """Return the images below `base`.

    Raises:
        DataError: There is metadata in a sub-folder, where it would not be seen.
    """
    files = list_files(base, root)
    for name in files:
        file = PurePosixPath(name)
        if file.name in METADATA_FILES and len(file.parts) > 1:
            raise DataError(f"{base / name} is in a sub-folder. Move its rows to {base / file.name}.")
    images = [name for name in files if is_image(name)]
    return _Listing(base, images, len(files) - len(images))


def _outside_notes(path: Path, splits: Mapping[str, Path]) -> tuple[str, ...]:
    """A note on images that lie outside the folders of the splits."""
    if path in splits.values():
        return ()
    folders = {folder.name for folder in splits.values()}
    files = list_files(path, path)
    outside = [name for name in files if PurePosixPath(name).parts[0] not in folders and is_image(name)]
    if not outside:
        return ()
    return (f"Images outside the folders {', '.join(sorted(folders))} were left out: {join_names(outside)}.",)


def _folder_names(images: Sequence[str]) -> dict[str, list[object]]:
    """The name of the folder that each image lies in, as the column ``label``; none where all lie at the top."""
    labels: list[object] = [PurePosixPath(name).parent.name or None for name in images]
    return {"label": labels} if any(labels) else {}


def _columns(listing: _Listing, metadata: Path) -> dict[str, list[object]]:
    """Return the columns of the metadata in the order of the images.

    Raises:
        DataError: Images and rows don't match one to one.
    """
    by_file = _rows_by_file(listing.base, metadata)
    images = set(listing.images)
    without_image = [name for name in by_file if name not in images]
    if without_image:
        raise DataError(
            f"{metadata} has rows for files that are not among the images ({len(without_image)}): "
            f"{join_names(without_image)}. Add the files or remove the rows."
        )
    without_row = [name for name in listing.images if name not in by_file]
    if without_row:
        raise DataError(
            f"{metadata} has no row for some images ({len(without_row)}): {join_names(without_row)}. "
            "Add a row or remove the file."
        )
    rows = [by_file[name] for name in listing.images]
    return {column: [row[column] for row in rows] for column in rows[0]}


def _rows_by_file(base: Path, metadata: Path) -> dict[str, Row]:
    """Return the rows of the images below `base`, by path relative to it.

    Raises:
        DataError: A path leaves the folder, or occurs twice.
    """
    prefix = base.relative_to(metadata.parent)
    rows: list[tuple[str, Row]] = []
    for row in read_metadata(metadata):
        file = PurePosixPath(str(row[FILE_COLUMN]).strip())
        if file.is_absolute() or ".." in file.parts:
            raise DataError(f"{metadata}: {file} points out of the folder. Use a path below it.")
        if file.is_relative_to(PurePosixPath(prefix.as_posix())):
            rows.append((str(file.relative_to(prefix.as_posix())), row))
    repeated = [name for name, count in Counter(name for name, _ in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{metadata} has several rows for {join_names(repeated)}. Keep one row per image.")
    return dict(rows)


def _examples(listing: _Listing, columns: Mapping[str, list[object]], notes: tuple[str, ...]) -> RawExamples:
    """Return the training examples in the byte order of their ids.

    Raises:
        DataError: A row has no id.
    """
    ids = _ids(listing.images, columns)
    order = sorted(range(len(ids)), key=ids.__getitem__)  # code points: the order of UTF-8
    paths = [listing.base / listing.images[n] for n in order]
    return RawExamples(
        ids=[ids[n] for n in order],
        names=[str(path) for path in paths],
        sources=paths,
        columns={name: [values[n] for n in order] for name, values in columns.items()},
        notes=notes,
    )


def _ids(images: Sequence[str], columns: Mapping[str, list[object]]) -> list[str]:
    if "id" not in columns:
        return list(images)
    ids = [as_text(value, name, "id") for name, value in zip(images, columns["id"], strict=True)]
    without = [name for name, id in zip(images, ids, strict=True) if id is None]
    if without:
        raise DataError(f"The column 'id' has no value for {join_names(without)}.")
    return [id for id in ids if id is not None]
