"""The folders of models and ensembles that are explained."""

from __future__ import annotations

from pathlib import Path

from whence import artefacts
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.model import DiffusionModel
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError


def open_folder(path: Path) -> Path | Ensemble:
    """Return the ensemble in a directory, or the directory of a model, checked by hash if Whence wrote it."""
    kind = artefacts.kind_of(path)
    if kind == "ensemble":
        return Ensemble.open(path)
    if kind not in ("model", None):
        what = artefacts.with_article(kind)
        raise ArtefactError(f"{path} is {what}; expected a diffusers folder, a training run or an ensemble.")
    if kind == "model":
        manifest = artefacts.read_manifest(path, "model")
        parts = {name.split("/")[0] + "/" for name in manifest.files}
        encoders = sorted(parts & {"vqvae/", "vae/", "text_encoder/", "tokenizer/"})
        for needed in ("model_index.json", "unet/", "scheduler/", *encoders):
            artefacts.verify(path, manifest, needed)
    return path


def run_folder(run: Path | DiffusionModel | AdapterRun) -> Path | None:
    """The directory of a run; None for a model in memory."""
    if isinstance(run, AdapterRun):
        return run.folder
    return run if isinstance(run, Path) else None


def recorded_run(run: Path | DiffusionModel | AdapterRun) -> Path | None:
    """The directory of a run with a record of its training; None for other models."""
    folder = run_folder(run)
    return folder if folder is not None and artefacts.kind_of(folder) == "model" else None
