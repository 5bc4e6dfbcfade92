"""Reading and writing artefacts: directories that are whole or do not exist.

An artefact is a directory with a ``manifest.json`` that says what it is, from which inputs it
was made (by fingerprint), how, and the SHA-256 of every file in it. It is written as
``NAME.part`` under a lock and renamed when whole, so a directory without the suffix is always
complete. This is the only module that touches the disk on behalf of the others.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from whence.errors import ArtefactError, LockedError, MismatchError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_REQUEST = "request.json"


@dataclass(frozen=True)
class Manifest:
    """What an artefact says of itself.

    Attributes:
        kind: What it is: ``dataset``, ``model``, ``codebook``, ``ensemble``, ``samples``, ...
        inputs: Fingerprints of what it was made from, by role.
        made: How it was made: the resolved settings.
        files: SHA-256 of every file, by path relative to the directory.
        facts: What was found while making it (counts, notes); not part of the fingerprint.
        environment: Versions and platform that made it; not part of the fingerprint.
    """

    kind: str
    inputs: Mapping[str, Any]
    made: Mapping[str, Any]
    files: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of kind, inputs, settings and file hashes."""
        return digest({"kind": self.kind, "inputs": self.inputs, "made": self.made, "files": self.files})


def digest(value: Any) -> str:
    """Return SHA-256 (hex) of bytes, or of the canonical JSON of anything else.

    Example:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
    """
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(value).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def lock(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the only right to write `path`; the lock is freed when this process ends, however it ends.

    Args:
        path: The directory to be written; the lock is a hidden file ``.NAME.lock`` beside it.
        patience: Seconds to wait for another writer.

    Raises:
        LockedError: Another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        held.acquire(timeout=patience)
    except filelock.Timeout:
        raise LockedError(
            f"{path} is being written by another process. Wait for it to finish, or use another directory."
        ) from None
    try:
        yield
    finally:
        held.release()


@contextmanager
def create(
    path: Path,
    kind: str,
    *,
    inputs: Mapping[str, Any],
    made: Mapping[str, Any],
    facts: dict[str, Any] | None = None,
    patience: float = 0.0,
) -> Iterator[Path]:
    """Write an artefact: yield ``PATH.part`` to fill; when the block ends well, seal and rename it.

    What an earlier, interrupted block left in ``PATH.part`` is still there, if it was for the
    same request, so that the work can continue. An existing `path` stays until the new one
    is whole and is then replaced.

    Args:
        path: Where the artefact will be.
        kind: What it is.
        inputs: Fingerprints of what it is made from.
        made: The resolved settings.
        facts: Recorded in the manifest when the block ends; may be filled inside the block.
        patience: Seconds to wait for another writer.

    Yields:
        The directory to write into.

    Raises:
        LockedError: Another process is writing the same artefact.
        MismatchError: ``PATH.part`` was begun with other inputs or settings.
    """
    part = Path(f"{path}.part")
    request = json.loads(json.dumps({"kind": kind, "inputs": inputs, "made": made}))
    with lock(path, patience):
        if (part / _REQUEST).exists():
            _require_same(part, "was begun", read_json(part / _REQUEST), request)
        else:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            write_json(part / _REQUEST, request)
        yield part
        for leftover in part.rglob(".*.tmp"):
            leftover.unlink()
        write_manifest(part, Manifest(kind, inputs, made, _hash_files(part), facts or {}, environment()))
        _replace(part, path)
        (path / _REQUEST).unlink()


def existing(path: Path, kind: str, *, inputs: Mapping[str, Any], made: Mapping[str, Any]) -> Manifest | None:
    """The manifest of the whole artefact at `path` if it is what this request would make.

    Returns:
        None where nothing is there yet.

    Raises:
        MismatchError: The artefact there is of other inputs or settings.
    """
    if not path.exists():
        return None
    found = read_manifest(path, kind)
    request = json.loads(json.dumps({"kind": kind, "inputs": inputs, "made": made}))
    _require_same(path, "was made", {"kind": found.kind, "inputs": found.inputs, "made": found.made}, request)
    return found


def read_manifest(path: Path, kind: str) -> Manifest:
    """Return the manifest of the artefact at `path`.

    Raises:
        ArtefactError: There is no such artefact, it is unfinished, damaged, of another kind or
            of a newer format.
    """
    file = path / MANIFEST
    if not file.exists():
        if Path(f"{path}.part").exists():
            raise ArtefactError(f"{path} is unfinished. Run the command that makes it again: it continues.")
        raise ArtefactError(f"{path} is not a Whence {kind}: {file} does not exist.")
    raw = read_json(file)
    if not isinstance(raw, dict) or raw.get("format") != "whence" or not isinstance(raw.get("version"), int):
        raise ArtefactError(f"{file} is not a Whence manifest.")
    if raw["version"] > FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format version {raw['version']}; this Whence reads up to {FORMAT_VERSION}. "
            "Install a newer Whence."
        )
    if raw.get("kind") != kind:
        raise ArtefactError(f"{path} is a {raw.get('kind')}, not a {kind}.")
    try:
        found = Manifest(**{name: raw[name] for name in Manifest.__dataclass_fields__})
    except KeyError as missing:
        raise ArtefactError(f"{file} is damaged: it lacks {missing}.") from None
    if raw.get("fingerprint") != found.fingerprint:
        raise ArtefactError(
            f"{file} is damaged or was edited: it states the fingerprint {raw.get('fingerprint')}, "
            f"its content has {found.fingerprint}."
        )
    return found


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into the directory `path`."""
    fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    write_json(
        path / MANIFEST,
        {"format": "whence", "version": FORMAT_VERSION, "fingerprint": manifest.fingerprint, **fields},
    )


def verify(path: Path, manifest: Manifest) -> None:
    """Check every file of an artefact against the hash in its manifest.

    Raises:
        ArtefactError: A file is missing, or has another hash.
    """
    for name, expected in manifest.files.items():
        if not (path / name).is_file():
            raise ArtefactError(f"{path / name} is missing.")
        found = file_digest(path / name)
        if found != expected:
            raise ArtefactError(f"{path / name} is damaged: its SHA-256 is {found}, recorded was {expected}.")


def reseal(path: Path, manifest: Manifest) -> None:
    """Write the manifest of an artefact whose own files were changed on purpose, under its lock."""
    files = {name: file_digest(path / name) for name in manifest.files}
    write_manifest(path, dataclasses.replace(manifest, files=files))


def discard(path: Path) -> None:
    """Remove a directory, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors as a safetensors file."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


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


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write named columns as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path) -> dict[str, list[Any]]:
    """Return the content of a Parquet file as named columns.

    Raises:
        ArtefactError: The file is missing or damaged.
    """
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None
    return columns


@functools.cache
def environment() -> dict[str, str]:
    """Versions and platform that the results may depend on."""
    packages = ("whence", "torch", "diffusers", "numpy")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in packages},
    }


def size_of(path: Path) -> int:
    """Bytes of all files below `path`."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _hash_files(path: Path) -> dict[str, str]:
    """SHA-256 of every file below `path`, leaving out artefacts inside it, which have their own manifest."""
    found: dict[str, str] = {}
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not (entry / MANIFEST).exists():
            found.update({f"{entry.name}/{name}": value for name, value in _hash_files(entry).items()})
        elif entry.is_file() and entry.name not in (MANIFEST, _REQUEST) and entry.suffix != ".lock":
            found[entry.name] = file_digest(entry)
    return found


def _replace(part: Path, path: Path) -> None:
    """Put `part` where `path` is; the old directory goes only when the new one is in place."""
    old = Path(f"{path}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    part.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _require_same(path: Path, verb: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if found == wanted:
        return
    differences = _differences(found, wanted)
    raise MismatchError(
        f"{path} {verb} from something else (fingerprint {digest(found)[:12]}, this request is "
        f"{digest(wanted)[:12]}):\n" + "\n".join(differences) + "\n"
        "Use another directory, or delete this one to start over."
    )


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = list(dict.fromkeys([*found, *wanted]))
        lines: list[str] = []
        for key in keys:
            lines += _differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else str(key))
        return lines
    return [] if found == wanted else [f"  {name}: there {_short(found)}, now {_short(wanted)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor that shares the array's memory where it can."""
    return torch.from_numpy(np.ascontiguousarray(array))
