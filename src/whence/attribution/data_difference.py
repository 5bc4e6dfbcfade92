"""In what the data that are given differ from those that a run was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from whence import artefacts
from whence.data import Dataset
from whence.ensemble.model import Ensemble

#: What to look at where a run did not record more than one fingerprint of all.
UNKNOWN = "in which of pixels, captions and units is not known: compare files and tables with those of the training"


def describe_difference(source: Path | Ensemble, data: Dataset) -> str:
    """Say in which of ids, pixels, captions and units data differ from those of a run or an ensemble.

    New runs record a digest of each. Of older ones only ids are known, and whether captions are all that was added.

    Returns:
        The end of a sentence.
    """
    if isinstance(source, Ensemble):
        return _compared(source.data.digests, data)
    manifest = artefacts.read_manifest(source, "model")
    recorded = manifest.facts.get("data", {})
    if recorded:
        return _compared(recorded, data)
    if tuple(artefacts.read_table(source / "examples.parquet")["id"]) != data.ids:
        return "the ids differ"
    bare = data.with_fields(captions=(None,) * len(data), classes=data.classes)
    if manifest.inputs["data"] in (bare.fingerprint, bare.ungrouped.fingerprint):
        return "the captions differ"
    return UNKNOWN


def _compared(recorded: Mapping[str, str], data: Dataset) -> str:
    """Which parts are not the recorded ones; each example may also be a unit by itself."""
    now, alone = data.digests, data.ungrouped.digests
    parts = dict.fromkeys([*recorded, *now])
    names = [name for name in parts if recorded.get(name) not in (now.get(name), alone.get(name))]
    return f"the {' and '.join(names)} differ" if names else UNKNOWN


def missing_options(data: Dataset, shape: tuple[int, ...]) -> str:
    """Return the options with which data would have the shape (C, H, W) that a model draws; empty for none.

    Example:
        >>> import whence
        >>> missing_options(whence.load("digits"), (1, 16, 16))
        '--resolution 16'
    """
    channels, height, width = shape
    options = []
    if height == width and any(size[1:] != (height, width) for size in data.sizes):
        options.append(f"--resolution {height}")
    if channels == 1 and any(size[0] > 1 for size in data.sizes):
        options.append("--grey")
    return " ".join(options)
