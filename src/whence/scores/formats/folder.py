"""Folders of exported files: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whence import artefacts
from whence.errors import ArtefactError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it is moved to `path`, else it is removed.

    Raises:
        ArtefactError: There is something at `path`.
    """
    if path.exists():
        raise ArtefactError(f"{path} exists already. Give another name, or delete it.")
    part = Path(f"{path}.part")
    artefacts.discard(part)
    part.mkdir(parents=True)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        artefacts.discard(part)
        raise
