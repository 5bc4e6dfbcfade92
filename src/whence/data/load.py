"""One door to all data sets: the built-in digits, an image folder, a Hugging Face data set, or one of Whence's own."""

from __future__ import annotations

from pathlib import Path

from whence import artefacts
from whence.data.build import Options
from whence.data.dataset import KIND, PIXELS, Dataset, read
from whence.data.digits import read_digits
from whence.data.files import list_files
from whence.data.folder import read_folder
from whence.data.hub import parquet_files, read_parquet, read_saved, was_saved
from whence.data.pixels import is_image
from whence.data.splits import DEFAULT, choose
from whence.data.stack import shorten
from whence.errors import ArtefactError, DataError

_DIGITS = "digits"


def load(
    data: str | Path,
    *,
    split: str | None = None,
    unit_column: str | None = None,
    resolution: int | None = None,
    grey: bool = False,
) -> Dataset:
    """Read a data set.

    Args:
        data: ``digits`` (a folder of that name is ``./digits``), an image folder, a folder that
            ``datasets`` saved, a Parquet file or a folder of them; with ``:SPLIT`` behind it or not. Or a data set that
            Whence wrote, such as ``data`` and ``queries`` in a bank, which is read as it is.
        split: The split to read; where there are several, ``train`` unless said otherwise.
        unit_column: The column that holds the units; None makes each training example its own unit.
        resolution: Crop the central square of every image and scale it to this height and width.
        grey: One channel, even where there are colours.

    Returns:
        The training examples of the split.

    Raises:
        DataError: There is no such data set or split, or it can't be read as it is.
        ArtefactError: A data set that Whence wrote is damaged.
        ConfigError: The resolution is not a positive number.

    Example:
        >>> digits = load("digits:test", unit_column="label")
        >>> digits.captions[0], digits.units[0]
        ('2', ('digit 2',))
    """
    options = Options(unit_column, resolution, grey)
    name, split = name_and_split(data, split)
    if name == _DIGITS:
        return read_digits(split, options)
    path = Path(name)
    if not path.exists():
        raise DataError(f"{path} does not exist. Data is {_DIGITS!r}, a folder, or a Parquet file.")
    if path.is_file() and path.suffix != ".parquet":
        raise DataError(f"{path} is neither a folder nor a Parquet file.")
    kind = kind_of(path)
    if kind == KIND:
        return _read_written(path, split, options)
    if kind is not None:
        inside = ", ".join(str(inner) for inner in artefacts.whole(path, "*") if kind_of(inner) == KIND)
        raise DataError(f"{path} is a {kind}, not a data set." + (f" Data sets in it: {inside}." if inside else ""))
    if was_saved(path):
        return read_saved(path, split, options)
    if parquet_files(path):
        _require_no_images(path)
        return read_parquet(path, split, options)
    return read_folder(path, split, options)


def kind_of(path: Path) -> str | None:
    """Return the kind of what Whence wrote in this folder, ``dataset`` or another; None where it wrote nothing.

    Raises:
        ArtefactError: It wrote a data set whose manifest is damaged.
    """
    if not (path / artefacts.MANIFEST).is_file():
        return None
    try:
        return artefacts.kind_of(path)
    except ArtefactError:
        if (path / PIXELS).is_file():
            raise
        return None


def _read_written(path: Path, split: str | None, options: Options) -> Dataset:
    """Return a data set that Whence wrote, checked by hash.

    Raises:
        DataError: Other units, or pictures of another size or in grey, are asked for.
    """
    choose({DEFAULT: path}, split, str(path))
    artefacts.read_verified(path, KIND)
    found = read(path)
    channels, *sides = found.size
    other = options.resolution is not None and sides != [options.resolution] * 2
    if options.unit_column is not None or other or (options.grey and channels > 1):
        raise DataError(
            f"{path} is a data set that Whence wrote, with units, size and colours settled: {sides[1]}x{sides[0]} "
            f"pixels of {channels} channel{'s' if channels > 1 else ''}. Leave out --unit-column, --resolution and "
            "--grey, or give the data it was made from."
        )
    return found


def _require_no_images(path: Path) -> None:
    images = [name for name in list_files(path, path) if is_image(name)] if path.is_dir() else []
    if images:
        raise DataError(
            f"{path} has both Parquet files and images ({shorten(images)}). Give the folder or file that is meant."
        )


def name_and_split(data: str | Path, split: str | None) -> tuple[str | Path, str | None]:
    """Return name and split of ``NAME:SPLIT``, unless something on disk has that very name.

    Args:
        data: The name.
        split: The split that is asked for besides.

    Raises:
        DataError: They are two different ones.

    Example:
        >>> name_and_split("digits:test", None)
        ('digits', 'test')
    """
    name, colon, suffix = str(data).rpartition(":")
    if not colon or Path(data).exists():
        return data, split
    if split not in (None, suffix):
        raise DataError(f"{data} asks for the split {suffix!r}, and --split for {split!r}. Give one of them.")
    return (name if isinstance(data, str) else Path(name)), suffix
