"""Gradient norms against timesteps: they show how much of a score comes from the timestep and not from the example."""

from __future__ import annotations

from pathlib import Path

import torch

from whence import artefacts
from whence.attribution.feature_plan import FeaturePlan, FeatureSet
from whence.attribution.feature_store import FeatureStore
from whence.gradients.features import Feature

#: Number of pairs of example and draw that are kept for each readout.
PAIRS = 20_000
COLUMNS = ("readout", "timestep", "norm")


def norms(plan: FeaturePlan, store: FeatureStore, examples: FeatureSet, kind: Feature) -> dict[str, list[float]]:
    """Return columns ``timestep`` and ``norm``: ‖P g‖ before any normalisation, evenly spread over the examples."""
    features = store.features(plan, examples, kind)
    rows = list(range(0, len(features.ids), -(-len(features.ids) * features.draws // PAIRS)))
    names = [features.ids[n] for n in rows]
    columns: dict[str, list[float]] = {"timestep": [], "norm": []}
    values = features.norms()[rows]
    for index in range(features.draws):
        _, t, _ = examples.source(torch.zeros(len(names), 1), names, torch.full((len(names),), index).numpy())
        columns["timestep"] += t.tolist()
        columns["norm"] += values[:, index].tolist()
    return columns


def write_norms(path: Path, plan: FeaturePlan, store: FeatureStore) -> None:
    """Write the norms of the readouts of a plan's methods as one table: readout, timestep, norm.

    The norms of the final model are written where a method uses it, else those of the first checkpoint. Norms of other
    readouts that are in the table stay.
    """
    rows = _read(path)
    written, chosen = {row[0] for row in rows}, dict[str, tuple[Feature, FeatureSet]]()
    for method, terms in sorted(plan.terms.items(), key=lambda pair: pair[0].over != "model"):
        if method.over == "model" or method.readout not in written:
            chosen.setdefault(method.readout, (method.feature, terms[0].examples))
    rows = [row for row in rows if row[0] not in chosen]
    for readout, (kind, examples) in chosen.items():
        columns = norms(plan, store, examples, kind)
        rows += [(readout, t, norm) for t, norm in zip(columns["timestep"], columns["norm"], strict=True)]
    rows.sort(key=lambda row: row[0])
    artefacts.write_table(path, {name: [row[k] for row in rows] for k, name in enumerate(COLUMNS)})


def _read(path: Path) -> list[tuple[str, float, float]]:
    if not path.exists():
        return []
    table = artefacts.read_table(path)
    return list(zip(*(table[name] for name in COLUMNS), strict=True))
