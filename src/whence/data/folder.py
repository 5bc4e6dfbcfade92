"""A folder of images in the layout of Hugging Face's ``imagefolder``.

Images lie directly in the folder or in sub-folders, whose names are classes. Above them there may be
the folders ``train``, ``validation`` and ``test``. A metadata file may give captions, classes, ids and units.

What is an image is decided by content, not by extension. Files that are no images are counted in a note; a sub-folder
of files of which none can be read is an error. Hidden files and folders are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from whence.data.columns import CLASS_COLUMN, has_values, normalise, required_texts
from whence.data.dataset import Dataset
from whence.data.files import list_files
from whence.data.image_files import FORMATS, is_image
from whence.data.metadata import FILE_COLUMN, Row, find_metadata, is_metadata, read_metadata
from whence.data.other_files import left_out, other_notes
from whence.data.raw_examples import RawExamples
from whence.data.read_options import ReadOptions
from whence.data.splits import CANONICAL, DEFAULT, canonical, choose
from whence.data.trainer_folder import EXTENSIONS, name_notes
from whence.data.trainer_subset import first_line
from whence.errors import DataError, join_names


@dataclass(frozen=True)
class _Listing:
    """The images of one split."""

    base: Path  # the split's folder
    images: list[str]  # paths relative to it, in byte order
    others: list[str]  # of the files that are no images and no metadata


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
            f"{base} has no images ({len(listing.others)} other files). Images are files of the formats "
            f"{', '.join(FORMATS)}."
        )
    read = tuple(extension for extension in EXTENSIONS if extension == options.caption_column)
    others = [name for name in listing.others if not name.endswith(read)]
    notes = (*_outside_notes(path, splits), *other_notes(base, listing.images, others))
    notes += name_notes(base, {name.split("/")[0] for name in listing.images if "/" in name})
    metadata = find_metadata(base) or find_metadata(path)
    columns = _columns(listing, metadata) if metadata else {}
    if not has_values(columns.get(CLASS_COLUMN, ())):
        columns |= _folder_names(listing.images)
    columns |= {extension: _texts_beside(listing, extension) for extension in read}
    return _examples(listing, columns, notes).dataset(options)


def read_image(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return a single image file, with its row of the table beside it where there is one.

    Raises:
        DataError: The file is damaged, or another split than ``train`` is named.
    """
    choose({DEFAULT: path}, split, str(path))
    metadata = find_metadata(path.parent)
    row = _rows_by_file(path.parent, metadata).get(normalise(path.name)) if metadata else None
    columns: dict[str, list[object]] = {name: [value] for name, value in (row or {}).items()}
    return _examples(_Listing(path.parent, [path.name], []), columns, ()).dataset(options)


def _splits(path: Path) -> dict[str, Path]:
    """Return the folder of each split; without any, the whole folder is ``train``.

    Raises:
        DataError: Two folders are the same split.
    """
    order = list(CANONICAL)
    found = [folder for folder in sorted(path.iterdir()) if folder.name.lower() in order and folder.is_dir()]
    folders: dict[str, Path] = {}
    for folder in sorted(found, key=lambda folder: order.index(folder.name.lower())):
        other = folders.setdefault(canonical(folder.name), folder)
        if other != folder:
            raise DataError(f"{path} has {other.name} and {folder.name} for one split. Keep one of them.")
    return folders or {DEFAULT: path}


def _list_images(base: Path, root: Path) -> _Listing:
    """Return the images below `base`.

    Raises:
        DataError: There is metadata in a sub-folder, where it would not be seen, or two images have one name.
    """
    images: list[str] = []
    others: list[str] = []
    for name in list_files(base, root):
        file = PurePosixPath(name)
        if not is_metadata(file.name):
            (images if is_image(base / name) else others).append(name)
        elif len(file.parts) > 1:
            raise DataError(f"{base / name} is in a sub-folder. Move its rows to {base / file.name}.")
    repeated = [name for name, count in Counter(map(normalise, images)).items() if count > 1]
    if repeated:
        raise DataError(
            f"{base} has two files with the name {repeated[0]}: their letters look the same and are encoded in two "
            "ways. Rename one of them."
        )
    return _Listing(base, images, others)


def _outside_notes(path: Path, splits: Mapping[str, Path]) -> tuple[str, ...]:
    """Return notes on files that lie outside the folders of the splits.

    Raises:
        DataError: There are folders of images beside them, which may be classes.
    """
    if path in splits.values():
        return ()
    names = sorted(folder.name for folder in splits.values())
    outside = [name for name in list_files(path, path) if PurePosixPath(name).parts[0] not in names]
    images = [name for name in outside if is_image(path / name)]
    folders = list(dict.fromkeys(PurePosixPath(name).parts[0] for name in images if "/" in name))
    if folders:
        raise DataError(
            f"{path} has {join_names(names)}, which names a split, beside other folders of images: "
            f"{join_names(folders)}. If all of them are classes, put them into {path / 'train'}; if not, move the "
            "others away."
        )
    notes = (f"Images outside the folders {', '.join(names)} were left out: {join_names(images)}.",) if images else ()
    return notes + left_out([name for name in outside if name not in images and not is_metadata(name)])


def _folder_names(images: Sequence[str]) -> dict[str, list[object]]:
    """Return the name of the folder that each image lies in as the column ``label``; none where all lie at the top.

    Of folders with the same name, such as ``a/x`` and ``b/x``, the whole path is the name.
    """
    folders = [PurePosixPath(name).parent for name in images]
    counts = Counter(folder.name for folder in set(folders))
    labels: list[object] = [str(folder) if counts[folder.name] > 1 else folder.name or None for folder in folders]
    return {CLASS_COLUMN: labels} if any(labels) else {}


def _texts_beside(listing: _Listing, extension: str) -> list[object]:
    """Return the first line of the text file beside each image, such as ``1.txt`` of ``1.png``; None without a file.

    Raises:
        DataError: There is none at all, or one is empty or no text in UTF-8.
    """
    there = {name for name in listing.others if name.endswith(extension)}
    names = [str(PurePosixPath(image).with_suffix(extension)) for image in listing.images]
    if not there & set(names):
        raise DataError(f"{listing.base} has no {extension} file beside an image. Name a column of the table.")
    return [first_line(listing.base / name) if name in there else None for name in names]


def _columns(listing: _Listing, metadata: Path) -> dict[str, list[object]]:
    """Return the columns of the metadata in the order of the images.

    Raises:
        DataError: Images and rows don't match one to one.
    """
    by_file = _rows_by_file(listing.base, metadata)
    images = {normalise(name) for name in listing.images}
    without_image = [name for name in by_file if name not in images]
    if without_image:
        raise DataError(
            f"{metadata} has rows for files that are not among the images ({len(without_image)}): "
            f"{join_names(without_image)}. Add the files or remove the rows."
        )
    without_row = [name for name in listing.images if normalise(name) not in by_file]
    if without_row:
        raise DataError(
            f"{metadata} has no row for some images ({len(without_row)}): {join_names(without_row)}. "
            "Add a row or remove the file."
        )
    rows = [by_file[normalise(name)] for name in listing.images]
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
            rows.append((normalise(str(file.relative_to(prefix.as_posix()))), row))
    repeated = [name for name, count in Counter(name for name, _ in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{metadata} has several rows for {join_names(repeated)}. Keep one row per image.")
    return dict(rows)


def _examples(listing: _Listing, columns: Mapping[str, list[object]], notes: tuple[str, ...]) -> RawExamples:
    """Return the training examples in the byte order of their ids.

    Raises:
        DataError: A row has no id.
    """
    ids = listing.images
    if "id" in columns:
        ids = required_texts(columns["id"], listing.images, "id", str(listing.base))
    order = sorted(range(len(ids)), key=lambda n: normalise(ids[n]))  # code points: the order of UTF-8
    paths = [listing.base / listing.images[n] for n in order]
    return RawExamples(
        ids=[ids[n] for n in order],
        names=[str(path) for path in paths],
        sources=paths,
        columns={name: [values[n] for n in order] for name, values in columns.items()},
        notes=notes,
    )
