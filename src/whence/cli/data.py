"""The data of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import whence
from whence.cli.show import show_notes
from whence.errors import ArtefactError


def load_data(data: str, out: Path, **options: Any) -> whence.Dataset:
    """Read the data of a command that writes to `out`, and print the notes on it; `whence.load` has the options."""
    from whence.data.load import require_outside

    require_outside(data, out)
    require_directory(out)
    dataset = whence.load(data, **options)
    show_notes(dataset.notes)
    return dataset


def follow_recipe(settings: whence.Config, images: whence.Dataset) -> whence.Config:
    """Return the settings of a training by what the trainer's file of the images says, if they are of one."""
    return settings if images.recipe is None else images.recipe.follow(settings)


def require_directory(out: Path) -> None:
    """Check that results can be written into a directory, or raise ArtefactError: there is no file in its place."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise ArtefactError(f"{place} is a file; a directory is made for the results. Give another name for it.")


def load_beside(data: str | Path, **options: Any) -> whence.Dataset:
    """Read further data of a command, such as held-out images, and print the notes on them."""
    dataset = whence.load(data, **options)
    show_notes(dataset.notes, of=str(data))
    return dataset
