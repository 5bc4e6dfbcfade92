"""Reading and writing artefacts: directories that are whole or do not exist.

An artefact is a directory with a ``manifest.json`` that says what it is, from which inputs it was made (by
fingerprint), how, the SHA-256 of its files and the fingerprints of the artefacts inside it. It is written as
``NAME.part`` under a lock and renamed when whole. What an interrupted run needs to go on is in ``resume/``, which is
no part of the artefact and goes when it is whole.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whence.artefacts.digest import digest, file_digest
from whence.artefacts.files import read_json, write_json
from whence.artefacts.lock import lock
from whence.artefacts.manifest import MANIFEST, Manifest, environment, read_manifest, verify, write_manifest
from whence.errors import MismatchError

#: Directory inside ``NAME.part`` for what only an interrupted run needs.
RESUME = "resume"
_REQUEST = f"{RESUME}/request.json"


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
    with lock(path, patience), _filled(path, kind, inputs, made, {} if facts is None else facts) as part:
        yield part


@contextmanager
def _filled(
    path: Path, kind: str, inputs: Mapping[str, Any], made: Mapping[str, Any], facts: dict[str, Any]
) -> Iterator[Path]:
    """Yield ``PATH.part`` to fill, under the lock of `path`; when the block ends well, seal and rename it."""
    part = Path(f"{path}.part")
    if not begun(path, kind, inputs=inputs, made=made):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_json(part / _REQUEST, json.loads(json.dumps({"kind": kind, "inputs": inputs, "made": made})))
    yield part
    for leftover in part.rglob(".*.tmp"):
        leftover.unlink()
    files, parts = _content(part)
    write_manifest(part, Manifest(kind, inputs, made, files, parts, facts, environment()))
    _replace(part, path)
    discard(path / RESUME)


def begun(path: Path, kind: str, *, inputs: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Return whether ``PATH.part`` is what an interrupted call with this request left.

    Raises:
        MismatchError: It was begun with other inputs or settings.
    """
    part = Path(f"{path}.part")
    if not (part / _REQUEST).exists():
        return False
    request = json.loads(json.dumps({"kind": kind, "inputs": inputs, "made": made}))
    _require_same(part, "was begun", read_json(part / _REQUEST), request)
    return True


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


def ensure(
    path: Path,
    kind: str,
    *,
    inputs: Mapping[str, Any],
    made: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any] | None],
    patience: float = 0.0,
) -> Manifest:
    """Make an artefact unless it is there, and return its manifest.

    Args:
        path: Where the artefact is, or will be.
        kind: What it is.
        inputs: Fingerprints of what it is made from.
        made: The resolved settings.
        build: Fills the directory that it is given, and returns facts for the manifest, or None. What an interrupted
            call left in the directory is still there.
        patience: Seconds to wait for another writer.

    Returns:
        The manifest.

    Raises:
        LockedError: Another process is writing the same artefact.
        MismatchError: The artefact there, or an unfinished one, is of other inputs or settings.
        ArtefactError: It is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> def build(part):
        ...     write_json(part / "answer.json", 42)
        >>> with TemporaryDirectory() as folder:
        ...     made = ensure(Path(folder) / "a", "answer", inputs={}, made={}, build=build)
        >>> list(made.files)
        ['answer.json']
    """
    found = existing(path, kind, inputs=inputs, made=made)
    if found is not None:
        return found
    facts: dict[str, Any] = {}
    with lock(path, patience):
        found = existing(path, kind, inputs=inputs, made=made)  # another writer made it while this one waited
        if found is not None:
            return found
        with _filled(path, kind, inputs, made, facts) as part:
            facts.update(build(part) or {})
    return read_manifest(path, kind)


def reseal(path: Path, manifest: Manifest, parts: Iterable[str]) -> None:
    """Write the manifest again with the artefacts inside it as they now are, in one go, under its lock."""
    now = {name: read_json(path / name / MANIFEST)["fingerprint"] for name in parts}
    write_manifest(path, dataclasses.replace(manifest, parts=now))


def discard(path: Path) -> None:
    """Remove a directory, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


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
