"""Gradient norms against timesteps, which say how much of a score is the timestep's and not the example's."""

from __future__ import annotations

from pathlib import Path

import torch

from whence import artefacts
from whence.attribution.work import Look, Work
from whence.gradients.features import Feature
from whence.gradients.store import Features

#: Pairs of example and draw that are kept for each readout.
PAIRS = 20_000


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


def write_norms(path: Path, work: Work, looks: dict[Feature, Look]) -> None:
    """Write the norms of several readouts as one table: readout, timestep, norm."""
    table: dict[str, list[object]] = {"readout": [], "timestep": [], "norm": []}
    for feature, look in sorted(looks.items(), key=lambda pair: pair[0]):
        if feature.readout in table["readout"]:
            continue
        columns = norms(work, look, feature)
        table["readout"] += [feature.readout] * len(columns["norm"])
        for name, values in columns.items():
            table[name] += values
    artefacts.write_table(path, table)
