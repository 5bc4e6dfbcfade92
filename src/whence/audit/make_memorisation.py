"""Making the audit of memorisation: pictures are drawn, and compared with all training images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.attribution.target import Target
from whence.audit.comparison import Comparison, Threshold, pixels_of_drawn
from whence.audit.memorisation import Closeness, Hit, MemorisationAudit, closeness
from whence.data import Dataset
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine
from whence.ensemble.ablation import ablate_each
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError, DataError, NoSurvivorsError
from whence.similarity.near_duplicates import NEAR

#: Copies of an ensemble that are drawn again without their units, the closest ones.
ABLATED = 20


def audit_memorisation(
    model: str | Path | DiffusionModel | Ensemble | Target,
    data: Dataset,
    drawn: Examples,
    out: str | Path,
    *,
    held_out: Dataset | None = None,
    threshold: float | None = None,
    by: str = "pixels",
    engine: Engine = DEFAULT,
) -> MemorisationAudit:
    """Return which drawn pictures are copies of training images.

    Args:
        model: A diffusers folder, a run, an ensemble, any `DiffusionModel`, or a `Target`.
        data: The training images.
        drawn: Pictures that the model drew, as `read_queries` returns them for ``sample:COUNT``.
        out: The folder of the audit.
        held_out: Pictures that training never saw, by which the threshold is chosen.
        threshold: A closeness below which a picture is a copy, from 0 to 1, in place of one that is chosen.
        by: ``pixels``, ``latents`` of a model of latents, or ``embedding:FOLDER`` with the folder of a vision model.
        engine: Where copies of an ensemble are drawn again without their units.

    Raises:
        ConfigError: There is no such comparison, or the threshold is not between 0 and 1.
        MismatchError: A recorded run was trained on other data, or the folder holds another audit.
        DataError: Pictures have another size than the training images, or there are too few of these.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise ConfigError(f"The limit of the distance is between 0 and 1; given {threshold}.")
    target = model if isinstance(model, Target) else Target.open(model)
    target.require_data(data)
    pixels = pixels_of_drawn(drawn)
    _require_size(data, pixels, "drawn pictures")
    if held_out is not None:
        _require_size(data, require_one_shape(held_out, "An audit of memorisation"), "held-out pictures")
    comparison, ensemble = Comparison(target, data, by), target.ensemble
    opened = target.fingerprint if ensemble is None else ensemble.manifest.fingerprint
    inputs = {"model": opened, "data": data.fingerprint, "drawn": drawn.fingerprint}
    inputs |= {} if held_out is None else {"held_out": held_out.fingerprint}

    def build(part: Path) -> dict[str, Any]:
        limit = Threshold.of(comparison, held_out, threshold)
        found = closeness(comparison.of_drawn(drawn), comparison.examples)
        hits = _hits(comparison, drawn.ids, found, limit.value)
        if ensemble is not None:
            hits = _ablated(ensemble, comparison, hits, engine)
        _write(part, comparison, drawn.ids, found, hits)
        chosen = {"threshold": limit.value, "chosen_by": limit.chosen_by, "compared": limit.compared}
        return {**chosen, "clusters": len(comparison.firsts)}

    made = {"by": by, "near": NEAR, "threshold": threshold}
    artefacts.ensure(Path(out), MemorisationAudit.kind, inputs=inputs, made=made, build=build)
    return MemorisationAudit.open(Path(out))


def _hits(comparison: Comparison, names: Sequence[str], found: Closeness, limit: float) -> list[Hit]:
    """The drawn pictures that are copies, the closest first."""
    counts, hits = np.bincount(comparison.clusters), []
    for q in np.argsort(found.values, kind="stable"):
        if found.values[q] < limit:
            row = comparison.firsts[found.places[q]]
            near = int(counts[comparison.clusters[row]])
            own = float(found.values[q]), float(found.distances[q] * comparison.scale)
            hits.append(Hit(names[q], comparison.data.ids[row], near, *own))
    return hits


def _ablated(ensemble: Ensemble, comparison: Comparison, hits: list[Hit], engine: Engine) -> list[Hit]:
    """Copies with what the members draw from the same noise that never saw their image or a near-duplicate."""
    data, clusters, few = comparison.data, comparison.clusters, []
    for hit in hits[:ABLATED]:
        rows = np.flatnonzero(clusters == clusters[data.index_of(hit.image)])
        units = tuple(dict.fromkeys(unit for n in rows.tolist() for unit in data.units[n]))
        try:
            ensemble.codebook.survivors(units)
            few.append((hit, units))
        except NoSurvivorsError:
            continue
    drawn = ablate_each(ensemble, [(hit.picture, units) for hit, units in few], engine=engine) if few else []
    known = {}
    for (hit, units), ablation in zip(few, drawn, strict=True):
        image = data.images([data.index_of(hit.image)])[0]
        apart = {name: _distance(picture, image) for name, picture in ablation.pictures.items()}
        without, placebo = apart["counterfactual"], apart.get("placebo", math.nan)
        known[hit] = replace(hit, units=units, before=apart["factual"], without=without, placebo=placebo)
    return [known.get(hit, hit) for hit in hits]


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Root mean square distance over pixels in [0, 1] of two pictures in [-1, 1]."""
    return float((a.double() - b.double()).square().mean().sqrt() / 2)


def _write(part: Path, comparison: Comparison, names: Sequence[str], found: Closeness, hits: Sequence[Hit]) -> None:
    rows, counts = comparison.firsts[found.places], np.bincount(comparison.clusters)
    drawn: dict[str, Any] = {"id": list(names), "image": [comparison.data.ids[row] for row in rows]}
    drawn |= {
        "copies": counts[comparison.clusters[rows]],
        "distance": found.distances * comparison.scale,
        "closeness": found.values,
    }
    artefacts.write_table(part / "drawn.parquet", drawn)
    artefacts.write_csv(part / "drawn.csv", drawn)
    records = [asdict(hit) for hit in hits]
    artefacts.write_table(
        part / "hits.parquet", {name: [record[name] for record in records] for name in Hit.__dataclass_fields__}
    )


def _require_size(data: Dataset, pixels: np.ndarray, noun: str) -> None:
    """Check that pictures have the size of the training images; a `DataError` if not."""
    if tuple(pixels.shape[1:]) != tuple(require_one_shape(data, "An audit of memorisation").shape[1:]):
        raise DataError(
            f"The {noun} are {tuple(pixels.shape[1:])} (C, H, W), the training images {data.size}; they must be the "
            "same. See --resolution and --grey."
        )
