"""Files of tensors that are numbered, each of which has some rows of what is too large for one."""

from __future__ import annotations

from pathlib import Path


def numbered_file(folder: Path, number: int) -> Path:
    """Return the file of a number.

    Example:
        >>> numbered_file(Path("a"), 7).as_posix(), numbered_file(Path("a"), 123_456).as_posix()
        ('a/00007.safetensors', 'a/123456.safetensors')
    """
    return folder / f"{number:05d}.safetensors"


def numbered_files(folder: Path) -> list[Path]:
    """Return the numbered files in a folder, by their numbers: 99999 comes before 100000."""
    return sorted(folder.glob("*.safetensors"), key=lambda file: int(file.stem))
