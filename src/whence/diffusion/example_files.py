"""The files of examples and of encodings.

examples.parquet      ids
examples.safetensors  tensors by name; those of a focus begin with focus/
latents/              shards of latents, with deviations and mirror images where there are any; see `latent_files`
conditions/captions/  shards of the conditions that captions have, by name
conditions/NAME/      shards of another condition
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from whence import artefacts
from whence.diffusion.latent_files import read_latents, write_latents
from whence.diffusion.repeated import Repeated
from whence.diffusion.shards import Shards, read_shards, write_shards
from whence.ragged import Ragged, groups_of, tensors_of

#: Beginnings of the names of conditions, of the rows of those that examples share, and of what a focus has; and the
#: folder of the conditions of captions among the others.
CONDITIONS, ROWS, FOCUS, CAPTIONS = "conditions/", "rows/", "focus/", "captions"
_TENSORS, TABLE, _VALUES = "examples.safetensors", "examples.parquet", "values"


def condition_tensors(conditions: Mapping[str, Tensor | Repeated]) -> dict[str, Any]:
    """Return the tensors or shards of conditions by their names on disk."""
    tensors: dict[str, Any] = {}
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


def write_example_files(folder: Path, ids: Sequence[str], tensors: Mapping[str, Any]) -> None:
    """Write ids and tensors by name, which may be in shards or of several shapes."""
    plain, shards, latents = dict[str, Tensor](), dict[str, Shards](), dict[str, Shards | Ragged]()
    for name, one in tensors.items():
        if isinstance(one, Shards) and name.startswith(CONDITIONS):
            shards[name] = one
        elif isinstance(one, Shards) or isinstance(one, Ragged) and isinstance(one.parts[0], Shards):
            latents[name] = one
        elif name.startswith((ROWS, FOCUS + ROWS)):
            plain[name] = one.clone()  # conditions of one caption share their rows
        else:
            plain |= tensors_of(name, one)
    if latents:
        groups = groups_of(next(iter(latents.values())))
        plain |= write_latents(folder, groups, lambda rows: {name: one[rows] for name, one in latents.items()})
    artefacts.write_tensors(folder / _TENSORS, plain)
    artefacts.write_table(folder / TABLE, {"id": list(ids)})
    for name, one in shards.items():
        write_condition(folder, name, one)


def write_condition(folder: Path, name: str, values: Shards) -> None:
    """Write a condition in shards."""
    write_shards(folder / name, len(values), lambda rows: {_VALUES: values[rows]})


def read_example_files(
    folder: Path, rows: range | None = None
) -> tuple[tuple[str, ...], dict[str, Any], dict[str, Shards | Ragged]]:
    """Return ids, or those of some rows; conditions and other tensors by name, and latents by name, mapped from disk.

    Raises:
        ArtefactError: A file is missing or damaged.
    """
    tensors: dict[str, Any] = dict(artefacts.read_tensors(folder / _TENSORS))
    for place in sorted((folder / CONDITIONS).glob("*")):
        for name, one in read_shards(place).items():
            tensors[CONDITIONS + (place.name if name == _VALUES else name)] = one
    ids = artefacts.TextColumn(folder / TABLE, "id")
    return tuple(ids if rows is None else ids[rows.start : rows.stop]), tensors, read_latents(folder, tensors)
