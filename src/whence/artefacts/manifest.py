"""Manifests: what an artefact says of itself, and the checks of its files against it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

from whence.artefacts.digest import digest, file_digest
from whence.artefacts.files import WAY_OUT, read_json, write_json
from whence.errors import ArtefactError, join_names

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


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


@dataclass(frozen=True)
class Artefact:
    """A whole artefact that is open for reading. The subclass of a kind reads its files.

    Attributes:
        path: Its directory.
        manifest: Its manifest.
    """

    kind: ClassVar[str]
    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the artefact in a directory; every file is checked by hash.

        Raises:
            ArtefactError: It is missing, unfinished, damaged or of another kind.
        """
        return cls(path, read_verified(path, cls.kind))


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


def with_article(kind: str) -> str:
    """Return a kind of artefact in a sentence.

    Example:
        >>> with_article("ensemble"), with_article("model"), with_article("samples")
        ('an ensemble', 'a model', 'samples')
    """
    if kind.endswith("s"):
        return kind
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"


def of_kind(root: Path, kind: str) -> list[Path]:
    """The whole artefacts of a kind right below `root`, sorted by path."""
    return [path for path in whole(root, "*") if kind_of(path) == kind]


def kinds_in(path: Path) -> set[str]:
    """Return the kinds of what a directory holds: its own, if it is an artefact, and those of artefacts right below it.

    Commands that take several kinds of directories look here which one they were given.

    Raises:
        ArtefactError: There is nothing at `path`, or something unfinished.
    """
    kinds = {kind_of(path), *map(kind_of, whole(path, "*"))}
    return {kind for kind in kinds if kind is not None}


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
        inside = [str(place) for pattern in ("*", "*/*") for place in whole(path, pattern) if kind_of(place) == kind]
        way = f" It holds {with_article(kind)}: {join_names(inside)}." if inside else ""
        raise ArtefactError(f"{path} is {with_article(str(raw.get('kind')))}, not {with_article(kind)}.{way}")
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
            raise ArtefactError(f"{path / name} is missing. {WAY_OUT.format(path)}")
        found, expected = file_digest(path / name), manifest.files[name]
        if found != expected:
            raise ArtefactError(
                f"{path / name} is damaged: its SHA-256 is {found}, recorded was {expected}. {WAY_OUT.format(path)}"
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


@functools.cache
def environment() -> dict[str, str]:
    """Versions and platform that the results may depend on."""
    packages = ("whence", "torch", "diffusers", "numpy")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in packages},
    }
