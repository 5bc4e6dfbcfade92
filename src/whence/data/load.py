"""One door to all data sets: the built-in digits, an image folder, or a Hugging Face data set on disk."""

from __future__ import annotations

from pathlib import Path

from whence.data.build import Options
from whence.data.dataset import Dataset
from whence.data.digits import read_digits
from whence.data.files import list_files
from whence.data.folder import read_folder
from whence.data.hub import parquet_files, read_parquet, read_saved, was_saved
from whence.data.pixels import is_image
from whence.data.stack import shorten
from whence.errors import DataError

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
            ``datasets`` saved, a Parquet file or a folder of them; with ``:SPLIT`` behind it or not.
        split: The split to read; where there are several, ``train`` unless said otherwise.
        unit_column: The column that holds the units; None makes each training example its own unit.
        resolution: Crop the central square of every image and scale it to this height and width.
        grey: One channel, even where there are colours.

    Returns:
        The training examples of the split.

    Raises:
        DataError: There is no such data set or split, or it can't be read as it is.
        ConfigError: The resolution is not a positive number.

    Example:
        >>> digits = load("digits:test", unit_column="label")
        >>> digits.captions[0], digits.units[0]
        ('2', ('digit 2',))
    """
    options = Options(unit_column, resolution, grey)
    name, split = _name_and_split(data, split)
    if name == _DIGITS:
        return read_digits(split, options)
    path = Path(name)
    if not path.exists():
        raise DataError(f"{path} does not exist. Data is {_DIGITS!r}, a folder, or a Parquet file.")
    if path.is_file() and path.suffix != ".parquet":
        raise DataError(f"{path} is neither a folder nor a Parquet file.")
    if was_saved(path):
        return read_saved(path, split, options)
    if parquet_files(path):
        _require_no_images(path)
        return read_parquet(path, split, options)
    return read_folder(path, split, options)


def _require_no_images(path: Path) -> None:
    images = [name for name in list_files(path, path) if is_image(name)] if path.is_dir() else []
    if images:
        raise DataError(
            f"{path} has both Parquet files and images ({shorten(images)}). Give the folder or file that is meant."
        )


def _name_and_split(data: str | Path, split: str | None) -> tuple[str | Path, str | None]:
    """Return name and split of ``NAME:SPLIT``, unless something on disk has that very name.

    Raises:
        DataError: Another split is asked for besides.
    """
    name, colon, suffix = str(data).rpartition(":")
    if not colon or Path(data).exists():
        return data, split
    if split not in (None, suffix):
        raise DataError(f"{data} asks for the split {suffix!r}, and --split for {split!r}. Give one of them.")
    return (name if isinstance(data, str) else Path(name)), suffix
