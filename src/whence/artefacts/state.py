"""The state of unfinished work, saved in ``resume/`` of the artefact that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from whence.artefacts.artefact import RESUME
from whence.artefacts.digest import file_digest
from whence.artefacts.files import read_json, read_tensors, write_json, write_tensors
from whence.errors import ArtefactError
from whence.lazy import torch

_POINTER = "state.json"


def write_state(folder: Path, step: int, tensors: Mapping[str, torch.Tensor]) -> None:
    """Save the state after a step: a new file, then the pointer to it. A kill on the way leaves the last save."""
    file = folder / RESUME / f"state-{step:08d}.safetensors"
    write_tensors(file, tensors)
    write_json(file.with_name(_POINTER), {"file": file.name, "step": step, "sha256": file_digest(file)})
    for old in file.parent.glob("state-*.safetensors"):
        if old != file:
            old.unlink()


def read_state(folder: Path) -> tuple[int, dict[str, torch.Tensor]] | None:
    """Return the step and the tensors of the last save; None if there is none, or if it is damaged."""
    try:
        pointer = read_json(folder / RESUME / _POINTER)
        file = folder / RESUME / pointer["file"]
        if file_digest(file) != pointer["sha256"]:
            return None
        return int(pointer["step"]), read_tensors(file)
    except (ArtefactError, OSError, KeyError, TypeError):
        return None
