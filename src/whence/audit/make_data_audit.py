"""Making the audit of training data: losses, self-influence, duplicates, captions and visits of every image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.attribution.model_folder import run_folder
from whence.attribution.request import AttributionConfig
from whence.attribution.target import Target
from whence.audit.captions import OTHERS, CaptionFit, caption_fit
from whence.audit.data_audit import DataAudit
from whence.audit.fits import DRAWS, EnsembleFit, ModelFit
from whence.audit.self_influence import self_influence
from whence.data import Dataset, load
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.encoding import FOLDER
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.engine import DEFAULT, Engine, staged
from whence.ensemble.model import Ensemble
from whence.similarity.near_duplicates import NEAR, near_duplicates
from whence.similarity.nearest import nearest

#: The method whose diagonal is the self-influence of a model.
METHOD = "gradient-dot"


@dataclass(frozen=True)
class DataAuditRequest:
    """What is audited, opened and checked."""

    target: Target
    data: Dataset
    draws: int
    seed: int

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of the model, or the ensemble, and of the data."""
        ensemble = self.target.ensemble
        model = self.target.fingerprint if ensemble is None else ensemble.manifest.fingerprint
        return {"model": model, "data": self.data.fingerprint}

    @property
    def made(self) -> dict[str, Any]:
        """The settings."""
        how = {"near": NEAR, "method": self.method, "captions": OTHERS}
        return {"draws": self.draws, "seed": self.seed, **how}

    @property
    def method(self) -> str:
        """What the self-influence is of."""
        return METHOD if self.target.ensemble is None else "ensemble ablation"


def audit_data(
    model: str | Path | DiffusionModel | Ensemble | Target,
    data: Dataset | str | Path,
    out: str | Path,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    store: str | Path | None = None,
    engine: Engine = DEFAULT,
) -> DataAudit:
    """Return the audit of the training data of a model: a table of every training image, in which outliers stand out.

    Losses are at fixed draws that belong to the image. Self-influence is that of `gradient-dot`, the squared norm of
    the mean gradient, or of an ensemble the exact effect of leaving out the image's units. What is there already is not
    measured again.

    Args:
        model: A diffusers folder, a run, an ensemble, any `DiffusionModel`, or a `Target`.
        data: The training images, or the name of a data set that `load` reads.
        out: The folder of the audit: ``images.parquet`` and ``images.csv``.
        draws: Draws (timestep, noise) of every image, at least 8.
        seed: Seed of the draws.
        store: Folder for features and encoded images, to go on after an interruption; default ``OUT-features``.
        engine: Where work runs. Its report is called with (passes of an image at a draw done, passes in all).

    Raises:
        MismatchError: A recorded run was trained on other data, or the folder holds another audit.
        DataError: Images don't fit the model.
        NotFiniteError: A loss or a gradient is not finite.

    Example:
        >>> import tempfile
        >>> from whence.config import ModelConfig
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     audit = audit_data(model, load("digits").select(range(6)), folder + "/audit", draws=8)
        ...     print([column.name for column in audit.columns], audit.table["nearest"][0])
        ['loss', 'self_influence', 'distance', 'copies'] 5
    """
    out, images = Path(out), load(str(data)) if isinstance(data, str | Path) else data
    target = model if isinstance(model, Target) else Target.open(model)
    require_one_shape(images, "An audit of data")
    target.require_data(images)
    request = DataAuditRequest(target, images, draws, seed)

    def build(part: Path) -> None:
        columns = _columns(request, Path(store or f"{out}-features"), engine)
        artefacts.write_table(part / "images.parquet", columns)
        artefacts.write_csv(part / "images.csv", {**columns, "units": [", ".join(u) for u in columns["units"]]})

    artefacts.ensure(out, DataAudit.kind, inputs=request.inputs, made=request.made, build=build)
    return DataAudit.open(out)


def _columns(request: DataAuditRequest, store: Path, engine: Engine) -> dict[str, Any]:
    """The table of the audit."""
    data, target = request.data, request.target
    if target.ensemble is None:
        fitted = _of_model(request, store, engine)
    else:
        fitted = _of_ensemble(target.ensemble, request, engine)
    pixels = require_one_shape(data, "An audit of data")
    places, distances = nearest(pixels, pixels, apart=(np.arange(len(data)), np.arange(len(data))))
    clusters, _ = near_duplicates(data)
    first = np.unique(clusters, return_index=True)[1]
    seen = visits(target, data)
    columns: dict[str, Any] = {"id": list(data.ids), "units": [list(units) for units in data.units]}
    if any(data.captions):
        columns["caption"] = list(data.captions)
    columns |= {name: values for name, values in fitted.items() if name != "best_caption"}
    columns |= {
        "nearest": [data.ids[n] if len(data) > 1 else None for n in places[:, 0]],
        "distance": distances[:, 0] / 255,
    }
    columns |= {"copies": np.bincount(clusters)[clusters], "cluster": first[clusters]}
    columns |= {"best_caption": fitted["best_caption"]} if "best_caption" in fitted else {}
    return columns | ({} if seen is None else {"visits": seen})


def _of_model(request: DataAuditRequest, store: Path, engine: Engine) -> dict[str, Any]:
    """Losses, self-influence and captions by a model."""
    target, data = request.target, request.data
    config = AttributionConfig(draws=request.draws, seed=request.seed)
    fit = ModelFit.of(target, request.draws, request.seed)
    rows, evaluations = (len(data) + 1) * request.draws, fit.evaluations(len(data))
    gradients, losses, captions = staged(engine, [rows, evaluations, (1 + OTHERS) * evaluations])
    encoding = store / FOLDER
    own = self_influence(target, data, METHOD, store, config=config, encoding=encoding, engine=gradients)
    examples = target.encoders.encode(data, encoding)
    loss = fit.losses(examples, losses)
    of_captions = caption_fit(fit, target.encoders, data, examples, loss, engine=captions)
    return {"loss": loss, "self_influence": own.numpy(), **_gains(of_captions)}


def _of_ensemble(ensemble: Ensemble, request: DataAuditRequest, engine: Engine) -> dict[str, Any]:
    """Losses, self-influence and captions by an ensemble."""
    fit, data = EnsembleFit(ensemble, request.draws, request.seed), request.data
    evaluations = fit.evaluations(len(data))
    losses, captions = staged(engine, [evaluations, (1 + OTHERS) * evaluations])
    examples = ensemble.encoders.encode_queries(data)
    own, loss = fit.self_influence(examples, losses), fit.losses(examples)
    of_captions = caption_fit(fit, ensemble.encoders, data, examples, loss, engine=captions)
    return {"loss": loss, "self_influence": own, **_gains(of_captions)}


def _gains(captions: CaptionFit | None) -> dict[str, Any]:
    """The columns of captions; none for a model without text."""
    if captions is None:
        return {}
    return {"caption_gain": captions.gain, "caption_excess": captions.excess, "best_caption": list(captions.best)}


def visits(target: Target, data: Dataset) -> list[int] | None:
    """Return how often recorded trainings saw every image, all members of an ensemble together; None without a record.

    An image that a member was not shown counts as 0 for it.
    """
    folders = [folder for run in target.runs if (folder := run_folder(run)) and artefacts.kind_of(folder) == "model"]
    if len(folders) < len(target.runs):
        return None
    counts = dict.fromkeys(data.ids, 0)
    for folder in folders:
        record = Record(folder)
        seen = np.bincount(record["rows"].numpy().ravel(), minlength=len(record.ids))
        for name, count in zip(record.ids, seen.tolist(), strict=True):
            counts[name] += count
    return list(counts.values())
