"""The function that reads every kind of data set; a new kind is a file with its reader, and one line in `READERS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from whence import artefacts
from whence.data.address import file_system, path_of
from whence.data.dataset import Dataset
from whence.data.dataset_artefact import KIND, PIXELS, read
from whence.data.digits import read_digits
from whence.data.files import list_files
from whence.data.folder import read_folder, read_image
from whence.data.hugging_face import is_saved, parquet_files, read_parquet, read_saved
from whence.data.image_files import is_image
from whence.data.read_options import ReadOptions
from whence.data.splits import DEFAULT, choose
from whence.data.styles import read_styles
from whence.data.trainer_file import read_trainer_file
from whence.data.trainer_folder import PREFIX, read_trainer_folder
from whence.data.webdataset import expand, is_pattern, read_tar_folder, read_tars, tar_files
from whence.engine.processes import return_freed_memory
from whence.errors import ArtefactError, ConfigError, DataError, join_names
from whence.ragged import count_shapes

#: Endings of files that hold a data set.
FILES = (".parquet", ".tar", ".toml")
#: The data sets that come with Whence, and the functions that read a split of them.
BUILT_IN = {"digits": read_digits, "styles": read_styles}


def load(
    data: str | Path,
    *,
    split: str | None = None,
    unit_column: str | None = None,
    resolution: int | None = None,
    grey: bool = False,
    caption_column: str | None = None,
    buckets: int | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """Read a data set.

    Args:
        data: ``digits`` or ``styles`` (a folder of that name is ``./digits``), an image folder, an image, a folder
            that ``datasets`` saved, a Parquet file or a folder of them; ``:SPLIT`` may follow. Tars: one, a folder of
            them, or ``{00000..00012}.tar``; tars and Parquet files may be at an address of fsspec, such as
            ``s3://bucket/{00000..00999}.tar``. Data of kohya's trainer: its TOML file, or ``kohya:FOLDER``. Or a data
            set that Whence wrote, such as ``data`` and ``queries`` in a bank, which is read as it is.
        split: The split to read; None for ``train``, or for the only split.
        unit_column: The column that holds the units; None makes each training example its own unit.
        resolution: Crop the central square of every image and scale it to this height and width.
        grey: Use one channel, even where there are colours.
        caption_column: The column that holds the captions; None for ``text``, ``caption`` or ``prompt``.
        buckets: Keep several shapes: crop and scale every image to the nearest one of about resolution² pixels, with
            sides that are multiples of this; see `Buckets`.
        skip_bad: Leave out images that can't be read, and name them in a note; of tars they always are.

    Returns:
        The training examples of the split.

    Raises:
        DataError: There is no such data set or split, or it can't be read as it is.
        ArtefactError: A data set that Whence wrote is damaged.
        ConfigError: The resolution is not a positive number, there are buckets without it, or an argument is of another
            kind.

    Example:
        >>> digits = load("digits:test", unit_column="label")
        >>> digits.captions[0], digits.units[0]
        ('2', ('digit 2',))
    """
    columns = {"unit_column": unit_column, "caption_column": caption_column}
    options = ReadOptions.of(resolution, buckets, **columns, grey=grey, skip_bad=skip_bad)
    name, split = name_and_split(data, split)
    if str(name).startswith(PREFIX) and not Path(name).exists():
        return read_trainer_folder(Path(str(name).removeprefix(PREFIX)), split, options)
    if name in BUILT_IN:
        return BUILT_IN[str(name)](split, options)
    path = path_of(str(name))
    if is_pattern(str(name)) and not path.exists():
        found = read_tars(expand(str(name)), str(name), split, options)
    else:
        found = _read_path(path, split, options)
    return_freed_memory()
    return found


def _read_path(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return what is at a path, by the first reader that fits."""
    if not path.exists():
        raise DataError(
            f"{path} does not exist. Data is {', '.join(map(repr, BUILT_IN))}, a folder, or a Parquet file."
        )
    if file_system(path) is not None:
        return _read_address(path, split, options)
    if path.is_file() and path.suffix.lower() not in FILES and not is_image(path):
        raise DataError(f"{path} is neither a folder, nor an image, nor a file that ends with {join_names(FILES)}.")
    _require_no_other_artefact(path)
    read_data = next(read_data for recognise, read_data in READERS if recognise(path))
    return read_data(path, split, options)


def _read_address(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return what is at an address: tars or Parquet files.

    Raises:
        DataError: There are neither.
    """
    if tar_files(path):
        return read_tar_folder(path, split, options)
    if (path.is_dir() or path.suffix.lower() == ".parquet") and parquet_files(path):
        return _read_parquet_only(path, split, options)
    raise DataError(f"{path} has neither tars nor Parquet files, which are what is read from an address. Copy it here.")


def kind_of(path: Path) -> str | None:
    """Return the kind of the artefact in this folder, ``dataset`` or another; None where there is no artefact.

    Raises:
        ArtefactError: It is a data set whose manifest is damaged.
    """
    if not (path / artefacts.MANIFEST).is_file():
        return None
    try:
        return artefacts.kind_of(path)
    except ArtefactError:
        if (path / PIXELS).is_file():
            raise
        return None


def _require_no_other_artefact(path: Path) -> None:
    """Refuse a folder that Whence wrote and that is no data set, such as a bank.

    Raises:
        DataError: It is one; the message names the data sets in it.
    """
    kind = kind_of(path)
    if kind not in (None, KIND):
        inside = ", ".join(str(inner) for inner in artefacts.whole(path, "*") if kind_of(inner) == KIND)
        what = artefacts.with_article(str(kind))
        raise DataError(f"{path} is {what}, not a data set." + (f" Data sets in it: {inside}." if inside else ""))


def _read_artefact(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return a data set that Whence wrote, checked by hash.

    Raises:
        DataError: The options ask for other units or captions, another size or grey, which can't be changed.
    """
    choose({DEFAULT: path}, split, str(path))
    artefacts.read_verified(path, KIND)
    data = read(path)
    channels, shapes = data.sizes[0][0], {shape[1:] for shape in data.sizes}
    resized = options.resolution is not None and shapes != {(options.resolution,) * 2}
    renamed = options.unit_column is not None or options.caption_column is not None
    if renamed or resized or options.buckets is not None or (options.grey and channels > 1):
        raise DataError(
            f"{path} is a data set that Whence wrote. Its units, captions, size and colours can't be changed: "
            f"{count_shapes(data.sizes)} pixels of {channels} channel{'s' if channels > 1 else ''}. Leave out "
            "--unit-column, --caption-column, --resolution, --buckets and --grey, or give the data it was made from."
        )
    return data


def _read_parquet_only(path: Path, split: str | None, options: ReadOptions) -> Dataset:
    """Return the rows of Parquet files.

    Raises:
        DataError: There are images beside them.
    """
    images = [name for name in list_files(path, path) if is_image(path / name)] if path.is_dir() else []
    if images:
        raise DataError(
            f"{path} has both Parquet files and images ({join_names(images)}). Give the folder or file that is meant."
        )
    return read_parquet(path, split, options)


#: Readers of files and folders: whether a path is theirs, and the function that reads it. The first that fits is used.
READERS: tuple[tuple[Callable[[Path], object], Callable[[Path, str | None, ReadOptions], Dataset]], ...] = (
    (lambda path: kind_of(path) == KIND, _read_artefact),
    (lambda path: path.is_file() and is_image(path), read_image),
    (lambda path: path.suffix.lower() == ".toml" and path.is_file(), read_trainer_file),
    (is_saved, read_saved),
    (tar_files, read_tar_folder),
    (parquet_files, _read_parquet_only),
    (Path.is_dir, read_folder),
)


def require_outside(data: str | Path, out: Path) -> None:
    """Check that results are not written into the folder of the data, where they would be read as images.

    Raises:
        DataError: `out` is in the folder, or is the folder.
    """
    folder = Path(name_and_split(str(data).removeprefix(PREFIX), None)[0])
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{out} is inside of the data {folder}, whose images are read from all its folders. Give a directory "
            "outside of it."
        )


def name_and_split(data: str | Path, split: str | None) -> tuple[str | Path, str | None]:
    """Return name and split of ``NAME:SPLIT``, unless something on disk has that very name.

    Args:
        data: The name.
        split: The split given by another option; None for none.

    Raises:
        ConfigError: A name is no text.
        DataError: Two different splits are given, or no data.

    Example:
        >>> name_and_split("digits:test", None)
        ('digits', 'test')
    """
    if not isinstance(data, str | Path):
        raise ConfigError(f"The data are a {type(data).__name__}; give the name of a data set, such as a folder.")
    if not isinstance(split, str | None):
        raise ConfigError(f"The split is a {type(split).__name__}; give its name.")
    name, colon, suffix = str(data).rpartition(":")
    if isinstance(data, str) and not (name if colon else suffix).strip():
        raise DataError(
            f"{data!r} names no data. Data is {' or '.join(map(repr, BUILT_IN))}, a folder, or a Parquet file; the "
            "current folder is '.'."
        )
    if not colon or "/" in suffix or Path(data).exists() or str(data).startswith(PREFIX):
        return data, split
    if split not in (None, suffix):
        raise DataError(f"{data} asks for the split {suffix!r}, and --split for {split!r}. Give one of them.")
    return (name if isinstance(data, str) else Path(name)), suffix
