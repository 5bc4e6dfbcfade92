"""Stored scores: of one method, or of all methods in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whence import artefacts
from whence.artefacts import Manifest
from whence.errors import ArtefactError
from whence.scores.ends import KIND as ENDS
from whence.scores.pictures import ScorePictures
from whence.scores.scores import Scores


@dataclass(frozen=True, eq=False)
class StoredScores:
    """Scores of one method, read from disk."""

    name: str  # the name of their folder, or its path where two folders have the same name
    scores: Scores
    manifest: Manifest  # what they are of and how they were made


def read_scores(paths: Sequence[Path]) -> tuple[StoredScores, ...]:
    """Return scores that `whence attribute` wrote: each path is an OUT, or the folder of one method in it.

    Raises:
        ArtefactError: There are no scores in a path, or they are damaged.
    """
    folders = list(dict.fromkeys(folder for path in paths for folder in _folders(path)))
    names = Counter(folder.resolve().name for folder in folders)
    return tuple(
        StoredScores(
            folder.name if names[folder.resolve().name] == 1 else str(folder),
            Scores.read(folder),
            artefacts.read_manifest(folder, "scores"),
        )
        for folder in folders
    )


def load_scores(path: str | Path) -> Scores:
    """Return the scores of one method, with the pictures beside them, which notebooks show.

    Raises:
        ArtefactError: There are none in the folder, those of several methods, or they are damaged.
    """
    folder = require_one(Path(path))
    return replace(Scores.read(folder), pictures=ScorePictures.beside(folder))


def require_one(path: Path, *, ends: bool = False) -> Path:
    """Return the folder of the scores of one method: `path`, or the only such folder in it.

    Args:
        path: The folder.
        ends: Whether the ends of scores, which ``--top`` keeps, will do too.

    Raises:
        ArtefactError: There are none, or those of several methods.
    """
    folders = _folders(path, ("scores", ENDS) if ends else ("scores",))
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise ArtefactError(f"{path} holds several scores; name one of them: {folders[0]} ({names}).")
    return folders[0]


def _folders(path: Path, kinds: Sequence[str] = ("scores",)) -> list[Path]:
    """Return the folders of scores in a path, or the path itself."""
    if not path.is_dir():
        raise ArtefactError(f"{path} does not exist. Give the OUT of `whence attribute`, or the folder of one method.")
    if artefacts.kind_of(path) in kinds:
        return [path]
    folders = [folder for kind in kinds for folder in artefacts.of_kind(path, kind)]
    if not folders and ENDS in artefacts.kinds_in(path):
        raise ArtefactError(
            f"{path} holds the first scores of each picture alone, and all are needed here. Run `whence attribute` "
            "without --top and with the same --out; the features are there."
        )
    if not folders:
        raise ArtefactError(
            f"There are no scores in {path}. First: whence attribute MODEL DATA --queries ... --out {path}"
        )
    return folders
