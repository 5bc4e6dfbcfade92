"""Gradient norms against timesteps, which say how much of a score is the timestep's and not the example's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from whence import artefacts
from whence.attribution.method import Method
from whence.attribution.work import Look, Work
from whence.gradients.features import Feature
from whence.gradients.store import Features

#: Pairs of example and draw that are kept for each readout.
PAIRS = 20_000
COLUMNS = ("readout", "timestep", "norm")


def norms(work: Work, look: Look, feature: Feature) -> dict[str, list[float]]:
    """Return timesteps and norms ‖P g‖ of gradients, evenly spread over the examples, as columns.

    Args:
        work: Knows where rows come from.
        look: The weights and where their features are.
        feature: The kind of features; its norms are those before any normalisation.

    Returns:
        Columns ``timestep`` and ``norm``.
    """
    found, source = Features.open(look.examples, feature), work.jobs[look.examples].request.source
    rows = list(range(0, len(found.ids), -(-len(found.ids) * found.draws // PAIRS)))
    names = [found.ids[n] for n in rows]
    columns: dict[str, list[float]] = {"timestep": [], "norm": []}
    values = found.norms()[rows]
    for index in range(found.draws):
        _, t, _ = source(torch.zeros(len(names), 1), names, torch.full((len(names),), index).numpy())
        columns["timestep"] += t.tolist()
        columns["norm"] += values[:, index].tolist()
    return columns


def write_norms(path: Path, work: Work, wanted: Mapping[Method, Sequence[Look]]) -> None:
    """Write the norms of the readouts of several methods as one table: readout, timestep, norm.

    Those of the final model are taken where a method looks at it, else those of the first checkpoint. Other readouts
    that are there already are kept.
    """
    rows = _read(path)
    known, first = {row[0] for row in rows}, dict[str, tuple[Feature, Look]]()
    for method, looks in sorted(wanted.items(), key=lambda pair: pair[0].over != "model"):
        if method.over == "model" or method.readout not in known:
            first.setdefault(method.readout, (method.feature, looks[0]))
    rows = [row for row in rows if row[0] not in first]
    for readout, (feature, look) in first.items():
        columns = norms(work, look, feature)
        rows += [(readout, t, norm) for t, norm in zip(columns["timestep"], columns["norm"], strict=True)]
    rows.sort(key=lambda row: row[0])
    artefacts.write_table(path, {name: [row[k] for row in rows] for k, name in enumerate(COLUMNS)})


def _read(path: Path) -> list[tuple[str, float, float]]:
    if not path.exists():
        return []
    table = artefacts.read_table(path)
    return list(zip(*(table[name] for name in COLUMNS), strict=True))
