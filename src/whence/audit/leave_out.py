"""Lists of training images that trainers take, without those that stand out most."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from whence import artefacts
from whence.data import Dataset
from whence.errors import ConfigError


def write_leave_out(data: Dataset, rows: Sequence[int], folder: Path) -> None:
    """Write lists of the training images without those in `rows`, in place of any that are there.

    * ``leave-out.txt``: the ids that are left out, one in each line
    * ``metadata.csv``: file_name and text of the others, as ``imagefolder`` of Hugging Face and Whence read it
    * ``metadata.json``: tags and captions of the others, for the option ``metadata_file`` of kohya's trainer

    Ids are the paths of the images inside of their folder, where the data are a folder.

    Raises:
        ConfigError: Nothing, or every image, would be left out.

    Example:
        >>> import numpy as np, tempfile
        >>> data = Dataset(("a.png", "b.png"), np.zeros((2, 1, 2, 2), np.uint8), (("u",),) * 2, ("a cat", None))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_leave_out(data, [1], Path(folder))
        ...     print((Path(folder) / "metadata.csv").read_text().split())
        ['"file_name","text"', '"a.png","a', 'cat"']
    """
    left_out = set(rows)
    if not 0 < len(left_out) < len(data):
        raise ConfigError(
            f"{len(left_out)} of {len(data)} images are to be left out; from 1 to {len(data) - 1} can be. Give "
            "--leave-out COUNT."
        )
    kept = [n for n in range(len(data)) if n not in left_out]
    ids, captions = [data.ids[n] for n in kept], [data.captions[n] or "" for n in kept]
    lines = "".join(f"{data.ids[n]}\n" for n in dict.fromkeys(rows))
    artefacts.write_bytes(folder / "leave-out.txt", lines.encode())
    table: dict[str, list[str]] = {"file_name": ids} | ({"text": captions} if any(captions) else {})
    artefacts.write_csv(folder / "metadata.csv", table)
    of_trainer = {re.sub(r"\.\w+$", "", id): {"caption": text} for id, text in zip(ids, captions, strict=True)}
    artefacts.write_json(folder / "metadata.json", of_trainer)
