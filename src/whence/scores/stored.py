"""The scores that a user gives to be evaluated: of one method, or of all methods in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whence import artefacts
from whence.artefacts import Manifest
from whence.errors import ArtefactError
from whence.scores.scores import Scores


@dataclass(frozen=True, eq=False)
class StoredScores:
    """Scores of one method, read from disk.

    Attributes:
        name: The name of their folder, or its path where that of another is the same.
        scores: The scores.
        manifest: What they are of and how they were made.
    """

    name: str
    scores: Scores
    manifest: Manifest


def read_scores(paths: Sequence[Path]) -> tuple[StoredScores, ...]:
    """Return what `whence attribute` wrote: a path is its OUT, with a folder for each method, or one of the folders.

    Raises:
        ArtefactError: There are no scores in a path, or they are damaged.
    """
    found = list(dict.fromkeys(folder for path in paths for folder in _folders(path)))
    names = Counter(folder.resolve().name for folder in found)
    return tuple(
        StoredScores(
            folder.name if names[folder.resolve().name] == 1 else str(folder),
            Scores.read(folder),
            artefacts.read_manifest(folder, "scores"),
        )
        for folder in found
    )


def _folders(path: Path) -> list[Path]:
    """The folders of scores in a path, or itself."""
    if not path.is_dir():
        raise ArtefactError(f"{path} does not exist. Give the OUT of `whence attribute`, or the folder of one method.")
    if artefacts.kind_of(path) == "scores":
        return [path]
    found = artefacts.of_kind(path, "scores")
    if not found:
        raise ArtefactError(
            f"There are no scores in {path}. First: whence attribute MODEL DATA --queries ... --out {path}"
        )
    return found
