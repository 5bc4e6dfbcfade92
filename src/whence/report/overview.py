"""What the report says of the whole ensemble: what was trained, how it was made, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from whence import images
from whence.ensemble import Ensemble, Samples
from whence.ensemble.landscaping import PLACEBOS
from whence.ensemble.model import member_name
from whence.report.words import counted, number
from whence.statistics.placebo_test import placebos_needed

#: Pictures between which the typical distance is taken.
COMPARED = 64


@dataclass(frozen=True)
class Overview:
    """The ensemble in words and figures.

    Attributes:
        name: Name of its directory.
        trained: "trained on 1,500 training images in 20 units".
        members: Number M of members.
        units: Number U of units.
        shown_to: How many of them saw a unit.
        seen: How many units a member saw, from the fewest to the most.
        sampler: "50 steps (ddpm)".
        scale: Typical distance between two pictures drawn from different noise; empty where unknown.
    """

    name: str
    trained: str
    members: int
    units: int
    shown_to: int
    seen: str
    sampler: str
    scale: str


def overview(ensemble: Ensemble, sets: Sequence[Samples], grouped: bool) -> Overview:
    """Describe an ensemble.

    Args:
        ensemble: The ensemble.
        sets: The pictures that it has drawn.
        grouped: Whether units are more than single training images.

    Returns:
        Its description.
    """
    book, sampler = ensemble.codebook, ensemble.config.sampler
    count = counted(len(ensemble.data), "training image")
    seen = book.bits.sum(axis=1)
    fewest, most = int(seen.min()), int(seen.max())
    return Overview(
        name=ensemble.path.resolve().name,
        trained=f"{count} in {counted(len(book.units), 'unit')}" if grouped else count,
        members=book.members,
        units=len(book.units),
        shown_to=book.weight,
        seen=f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}",
        sampler=f"{counted(sampler.steps, 'step')} ({sampler.method})",
        scale=_typical_distance(sets),
    )


def _typical_distance(sets: Sequence[Samples]) -> str:
    """The median distance between two pictures of the first set."""
    if not sets or len(sets[0].names) < 2:
        return ""
    pictures = sets[0].pictures[:COMPARED]
    rows, columns = torch.triu_indices(len(pictures), len(pictures), offset=1)
    return number(images.distance(pictures[rows], pictures[columns]).median().item())


def making(ensemble: Ensemble) -> dict[str, dict[str, str]]:
    """How the ensemble was made: titled tables of names and values."""
    manifest = ensemble.manifest
    book = ensemble.codebook
    members = [manifest.parts[member_name(m)] for m in range(book.members)]
    return {
        "Fingerprints": {
            "ensemble": manifest.fingerprint,
            "training data": str(manifest.inputs["data"]),
        },
        "Settings": {"codebook_seed": str(book.seed), **flat(manifest.made["config"])},
        "Versions": {name: str(value) for name, value in manifest.environment.items()},
        "Members": {
            f"member {m}": f"{counted(int(book.bits[m].sum()), 'unit')}, fingerprint {fingerprint[:12]}"
            for m, fingerprint in enumerate(members)
        },
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names.

    Example:
        >>> flat({"model": {"channels": None, "layers": 1}})
        {'model.channels': 'default', 'model.layers': '1'}
    """
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = "default" if value is None else str(value)
    return found


def commands(ensemble: Ensemble, sets: Sequence[Samples]) -> dict[str, str]:
    """Commands that make more, by what they do."""
    path = shlex.quote(str(ensemble.path))
    unit = shlex.quote(ensemble.codebook.units[0])
    whole = [samples for samples in sets if not samples.without]
    name = whole[0].names[-1] if whole else "0/0"
    seed, drawn = (whole[0].seed, len(whole[0].names)) if whole else (0, 0)
    return {
        "draw": f"whence ensemble sample {path} --count {drawn + 16} --seed {seed}",
        "suspects": f"whence ensemble ablate {path} --sample {name} --nearest 3",
        "ablate": f"whence ensemble ablate {path} --sample {name} --unit {unit}",
        "keep": f"whence ensemble ablate {path} --sample {name} --unit {unit} --keep-only",
        "landscape": f"whence ensemble landscape {path} --samples {name} --placebos "
        f"{max(PLACEBOS, placebos_needed(len(ensemble.codebook.units)))}",
        "without": f"whence ensemble sample {path} --count 16 --seed 1 --without {unit}",
        "report": f"whence report {path}",
    }
