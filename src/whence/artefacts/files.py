"""Files of artefacts: JSON and tensors, each written whole or not at all."""

from __future__ import annotations

import errno
import functools
import glob
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import psutil
from safetensors import SafetensorError, safe_open

from whence.errors import ArtefactError, WhenceError
from whence.lazy import torch

#: What a user does about a damaged artefact.
WAY_OUT = "Delete {} and run the command that makes it again."


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ArtefactError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all: a reader sees the old content or the new."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    write_bytes(target, source.read_bytes())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to fill; when the block ends well, put it where `path` is, else remove it.

    What a killed process left of the same file is removed. In a folder NAME.part, which may hold thousands of files,
    that is left to the one who fills it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not any(folder.suffix == ".part" for folder in path.parents):
        _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of a file whose processes, on this machine, are dead."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{_machine()}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            leftover.unlink(missing_ok=True)


@functools.cache
def _machine() -> str:
    """The name of this machine, among those that share a file system, as a part of file names."""
    return re.sub(r"[^0-9A-Za-z-]", "-", platform.node()) or "machine"


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors as a safetensors file.

    Raises:
        OSError: The file can't be written, as on a full disk.
    """
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error), str(path)) from None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the content of a safetensors file; the tensors are mapped from disk, not copied.

    Raises:
        ArtefactError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist.") from None
    except SafetensorError as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None


def read_row(path: Path, name: str, index: int) -> torch.Tensor:
    """Return one entry along the first dimension of a tensor in a safetensors file, without reading the others.

    Raises:
        ArtefactError: The file is missing or damaged, or has no such tensor.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            row: torch.Tensor = stored.get_slice(name)[index]
            return row
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} can't be read: {error}. {WAY_OUT.format(path.parent)}") from None


_DAMAGES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
Function = TypeVar("Function", bound=Callable[..., Any])


def reader(function: Function) -> Function:
    """Return a function that reads the artefact at its first path, so that what goes wrong is an `ArtefactError`.

    The hashes of an artefact may be right and its content not what this version expects: a key is missing, a number is
    text, a tensor has another shape.

    Raises:
        ArtefactError: The function failed in any way that is not an error of Whence.

    Example:
        >>> reader(lambda path: {}["kind"])(Path("a"))
        Traceback (most recent call last):
        whence.errors.ArtefactError: a is damaged: KeyError: 'kind'. Delete a and run the command that makes it again.
    """

    @functools.wraps(function)
    def read(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except _DAMAGES as error:
            if isinstance(error, WhenceError | torch.OutOfMemoryError):
                raise
            path = next(argument for argument in (*arguments, *options.values()) if isinstance(argument, Path))
            problem = f"{type(error).__name__}: {error}"
            raise ArtefactError(f"{path} is damaged: {problem}. {WAY_OUT.format(path)}") from error

    return cast(Function, read)


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor that shares the array's memory where it can."""
    return torch.from_numpy(np.ascontiguousarray(array))
