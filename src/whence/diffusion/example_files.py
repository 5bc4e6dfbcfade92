"""The files of examples and of encodings.

examples.parquet      ids
examples.safetensors  tensors by name; those of a focus begin with focus/
latents/              shards of latents, with deviations and mirror images where there are any
conditions/captions/  shards of the conditions that captions have, by name
conditions/NAME/      shards of another condition
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from whence import artefacts
from whence.diffusion.repeated import Repeated
from whence.diffusion.shards import Shards, read_shards, write_shards

#: Beginnings of the names of conditions, of the rows of those that examples share, and of what a focus has; and the
#: folders of latents, and of the conditions of captions among the others.
CONDITIONS, ROWS, FOCUS, LATENTS, CAPTIONS = "conditions/", "rows/", "focus/", "latents", "captions"
_TENSORS, _TABLE, _VALUES = "examples.safetensors", "examples.parquet", "values"


def condition_tensors(conditions: Mapping[str, Tensor | Repeated]) -> dict[str, Any]:
    """Return the tensors or shards of conditions by their names on disk."""
    tensors: dict[str, Tensor | Shards] = {}
    for name, condition in conditions.items():
        if isinstance(condition, Repeated):
            tensors[ROWS + name] = condition.rows
        tensors[CONDITIONS + name] = condition.values if isinstance(condition, Repeated) else condition
    return tensors


def conditions_in(tensors: Mapping[str, Any]) -> dict[str, Tensor | Repeated]:
    """Return the conditions among tensors and shards by their names on disk."""
    names = [place.removeprefix(CONDITIONS) for place in tensors if place.startswith(CONDITIONS)]
    return {
        name: Repeated(tensors[CONDITIONS + name], tensors[ROWS + name])
        if ROWS + name in tensors
        else tensors[CONDITIONS + name]
        for name in names
    }


def write_example_files(folder: Path, ids: Sequence[str], tensors: Mapping[str, Tensor | Shards]) -> None:
    """Write ids and tensors by name."""
    plain = {
        name: tensor.clone()
        if name.startswith((ROWS, FOCUS + ROWS))
        else tensor  # conditions of one caption share their rows
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor)
    }
    shards = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Shards)}
    artefacts.write_tensors(folder / _TENSORS, plain)
    artefacts.write_table(folder / _TABLE, {"id": list(ids)})
    latents = {name: one for name, one in shards.items() if not name.startswith(CONDITIONS)}
    if latents:
        write_shards(folder / LATENTS, len(ids), lambda rows: {name: one[rows] for name, one in latents.items()})
    for name in shards.keys() - latents.keys():
        write_condition(folder, name, shards[name])


def write_condition(folder: Path, name: str, values: Shards) -> None:
    """Write a condition in shards."""
    write_shards(folder / name, len(values), lambda rows: {_VALUES: values[rows]})


def read_example_files(folder: Path) -> tuple[tuple[str, ...], dict[str, Tensor], dict[str, Shards]]:
    """Return ids, tensors by name, and those in shards by name, mapped from disk.

    Raises:
        ArtefactError: A file is missing or damaged.
    """
    shards = read_shards(folder / LATENTS)
    for place in sorted((folder / CONDITIONS).glob("*")):
        for name, one in read_shards(place).items():
            shards[CONDITIONS + (place.name if name == _VALUES else name)] = one
    ids = tuple(artefacts.read_table(folder / _TABLE)["id"])
    return ids, artefacts.read_tensors(folder / _TENSORS), shards
