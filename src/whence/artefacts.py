"""Reading and writing artefacts: directories that are whole or do not exist.

An artefact is a directory with a ``manifest.json`` that says what it is, from which inputs it was made (by
fingerprint), how, the SHA-256 of its files and the fingerprints of the artefacts inside it. It is written as
``NAME.part`` under a lock and renamed when whole. What an interrupted run needs to go on is in ``resume/``, which is
no part of the artefact and goes when it is whole.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from whence.errors import ArtefactError, LockedError, MismatchError

FORMAT_VERSION = 1
_WAY_OUT = "Delete {} and run the command that makes it again."
MANIFEST = "manifest.json"
#: Directory inside ``NAME.part`` for what only an interrupted run needs.
RESUME = "resume"
_REQUEST = f"{RESUME}/request.json"


@dataclass(frozen=True)
class Manifest:
    """What an artefact says of itself.

    Attributes:
        kind: What it is: ``dataset``, ``model``, ``codebook``, ``ensemble``, ``samples``, ...
        inputs: Fingerprints of what it was made from, by role.
        made: How it was made: the resolved settings.
        files: SHA-256 of every file, by path relative to the directory.
        parts: Fingerprints of the artefacts inside that belong to it, by path.
        facts: What was found while making it (counts, notes); not part of the fingerprint.
        environment: Versions and platform that made it; not part of the fingerprint.
    """

    kind: str
    inputs: Mapping[str, Any]
    made: Mapping[str, Any]
    files: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of kind, inputs, settings, file hashes and the fingerprints of the parts."""
        return digest({name: getattr(self, name) for name in ("kind", "inputs", "made", "files", "parts")})


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
        files, parts = _content(part)
        write_manifest(part, Manifest(kind, inputs, made, files, parts, facts or {}, environment()))
        _replace(part, path)
        discard(path / RESUME)


def existing(path: Path, kind: str, *, inputs: Mapping[str, Any], made: Mapping[str, Any]) -> Manifest | None:
    """The manifest of the whole artefact at `path` if it is what this request would make.

    Returns:
        None where nothing is there yet.

    Raises:
        MismatchError: The artefact there is of other inputs or settings.
        ArtefactError: It is damaged.
    """
    if not path.exists():
        return None
    found = read_manifest(path, kind)
    request = json.loads(json.dumps({"kind": kind, "inputs": inputs, "made": made}))
    _require_same(path, "was made", {"kind": found.kind, "inputs": found.inputs, "made": found.made}, request)
    verify(path, found)
    discard(path / RESUME)
    return found


def whole(root: Path, pattern: str) -> list[Path]:
    """The whole artefacts whose directories below `root` match, sorted by path."""
    found = [file.parent for file in root.glob(f"{pattern}/{MANIFEST}")]
    return sorted(path for path in found if not any(part.endswith((".part", ".old")) for part in path.parts))


def kind_of(path: Path) -> str | None:
    """Return the kind of the artefact at `path`; None where there is a directory that is none.

    Raises:
        ArtefactError: There is nothing, or something unfinished.
    """
    if not path.is_dir():
        unfinished = Path(f"{path}.part").exists()
        way = "It is unfinished: run the command that makes it again." if unfinished else "There is no such directory."
        raise ArtefactError(f"{path} can't be opened. {way}")
    if not (path / MANIFEST).exists():
        return None
    raw = read_json(path / MANIFEST)
    return str(raw.get("kind")) if isinstance(raw, dict) and raw.get("format") == "whence" else None


def of_kind(root: Path, kind: str) -> list[Path]:
    """The whole artefacts of a kind right below `root`, sorted by path."""
    return [path for path in whole(root, "*") if kind_of(path) == kind]


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


def verify(path: Path, manifest: Manifest, within: str = "") -> None:
    """Check the files of an artefact, or those whose path begins with `within`, against the hashes in its manifest.

    Raises:
        ArtefactError: A file is missing, or has another hash.
    """
    for name in sorted(name for name in manifest.files if name.startswith(within)):
        if not (path / name).is_file():
            raise ArtefactError(f"{path / name} is missing. {_WAY_OUT.format(path)}")
        found, expected = file_digest(path / name), manifest.files[name]
        if found != expected:
            raise ArtefactError(
                f"{path / name} is damaged: its SHA-256 is {found}, recorded was {expected}. {_WAY_OUT.format(path)}"
            )


def read_verified(path: Path, kind: str) -> Manifest:
    """Return the manifest of the artefact at `path` after checking every file against it.

    Raises:
        ArtefactError: There is no such artefact, or it or one of its files is missing or damaged.
    """
    manifest = read_manifest(path, kind)
    verify(path, manifest)
    return manifest


def require_part(path: Path, manifest: Manifest, name: str, kind: str) -> None:
    """Check that an artefact inside another is the one that the outer one was sealed with.

    Raises:
        ArtefactError: It is missing, damaged, or another one.
    """
    found = read_manifest(path / name, kind).fingerprint
    if manifest.parts.get(name) != found:
        raise ArtefactError(
            f"{path / name} is another {kind} than {path} was made with: fingerprint {found[:12]}, "
            f"recorded was {str(manifest.parts.get(name))[:12]}."
        )


def reseal(path: Path, manifest: Manifest, parts: Iterable[str]) -> None:
    """Write the manifest again with the artefacts inside it as they now are, in one go, under its lock."""
    now = {name: read_json(path / name / MANIFEST)["fingerprint"] for name in parts}
    write_manifest(path, dataclasses.replace(manifest, parts=now))


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
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to fill; when the block ends well, put it where `path` is, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors as a safetensors file.

    Raises:
        OSError: The file can't be written, as on a full disk.
    """
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
        raise ArtefactError(f"{path} can't be read: {error}. {_WAY_OUT.format(path.parent)}") from None


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write named columns as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def write_csv(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as a CSV file, for spreadsheets."""
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(pa.table(dict(columns)), sink)
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


def _content(path: Path, prefix: str = "") -> tuple[dict[str, str], dict[str, str]]:
    """SHA-256 of every file below `path`, and the fingerprints of the artefacts inside it."""
    files: dict[str, str] = {}
    parts: dict[str, str] = {}
    for entry in sorted(path.iterdir()):
        name = prefix + entry.name
        if entry.is_dir() and (entry / MANIFEST).exists():
            parts[name] = read_json(entry / MANIFEST)["fingerprint"]
        elif entry.is_dir() and name != RESUME:
            inner = _content(entry, f"{name}/")
            files, parts = files | inner[0], parts | inner[1]
        elif entry.is_file() and name != MANIFEST and entry.suffix != ".lock":
            files[name] = file_digest(entry)
    return files, parts


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
