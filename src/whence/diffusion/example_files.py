"""The files of examples and of encodings.

examples.parquet      ids
examples.safetensors  tensors by name
latents/              shards of latents, with deviations and mirror images where there are any
conditions/captions/  shards of the conditions that captions have, by name
conditions/NAME/      shards of another condition
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from whence import artefacts
from whence.diffusion.shards import Shards, read_shards, write_shards

#: Beginnings of the names of conditions, and of the rows of those that examples share; and the folders of latents, and
#: of the conditions of captions among the others.
CONDITIONS, ROWS, LATENTS, CAPTIONS = "conditions/", "rows/", "latents", "captions"
_TENSORS, _TABLE, _VALUES = "examples.safetensors", "examples.parquet", "values"


def write_example_files(folder: Path, ids: Sequence[str], tensors: Mapping[str, Tensor | Shards]) -> None:
    """Write ids and tensors by name."""
    plain = {
        name: tensor.clone() if name.startswith(ROWS) else tensor  # conditions of one caption share their rows
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
