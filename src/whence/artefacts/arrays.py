"""Safetensors files as arrays of numpy, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from whence.errors import ArtefactError

#: Types of numpy by their names in safetensors files; bfloat16 has none.
DTYPES = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
DTYPES |= {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the content of a safetensors file; the arrays are mapped from disk, not copied.

    Raises:
        ArtefactError: The file is missing or damaged, or has a type that numpy doesn't have.
    """
    try:
        with safe_open(path, framework="np"):  # checks the header and the size of the file
            pass
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header: dict[str, dict[str, Any]] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return {name: _mapped(path, entry, 8 + length) for name, entry in header.items()}
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist.") from None
    except (SafetensorError, KeyError) as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None


def _mapped(path: Path, entry: dict[str, Any], start: int) -> np.ndarray:
    """Return one array of a file whose data begin at `start`; changes of it don't change the file."""
    dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
    if 0 in shape:
        return np.zeros(shape, dtype)
    mapped = np.memmap(path, dtype, mode="c", offset=start + entry["data_offsets"][0], shape=shape)
    return mapped.view(np.ndarray)
