"""Exact losses of drawn pictures, where they were measured: who is named by them."""

from __future__ import annotations

import re

import torch

from whence import artefacts
from whence.ensemble import Ensemble
from whence.ensemble.influence import Influence
from whence.ensemble.losses import Losses
from whence.ensemble.sampling import Samples, find_sample
from whence.errors import ArtefactError


def loss_readings(ensemble: Ensemble) -> dict[str, tuple[int, Influence]]:
    """Number of draws and reading of every drawn picture whose losses were measured; of several, that of most draws."""
    found: dict[str, tuple[int, Influence]] = {}
    opened: dict[int, Samples] = {}
    for path in artefacts.whole(ensemble.path / "losses", "*"):
        if artefacts.read_json(path / artefacts.MANIFEST).get("kind") != "losses":
            continue
        measured = Losses.open(path, ensemble.codebook)
        if measured.manifest.inputs["ensemble"] != ensemble.manifest.fingerprint:
            continue
        pictures = artefacts.read_tensors(path / "queries.safetensors")["pictures"]
        for name, picture in zip(measured.queries, pictures, strict=True):
            better = name not in found or found[name][0] < measured.draws
            if better and _is_drawn(ensemble, name, picture, opened):
                found[name] = (measured.draws, measured.reading(name))
    return found


def _is_drawn(ensemble: Ensemble, name: str, picture: torch.Tensor, opened: dict[int, Samples]) -> bool:
    """Whether a query is the picture that the ensemble drew under its name, and not some image of that name."""
    if not re.fullmatch(r"\d{1,9}/\d{1,9}", name):
        return False
    try:
        samples, index = find_sample(ensemble, name, opened)
    except ArtefactError:
        return False
    return torch.equal(samples.pictures[index], picture)
