"""The replay of a recorded run: opened from its directory and its data, and checked against the weights that it saved.

Refused is what can't be replayed to the saved weights, or has no second derivative: runs in bfloat16, with dropout,
with layers that keep statistics of batches, or from weights that the directory doesn't have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whence import artefacts
from whence.config import read_config
from whence.data import Dataset
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.examples import Examples
from whence.diffusion.latent_request import ENCODERS
from whence.diffusion.model import DiffusionModel
from whence.diffusion.record import Record
from whence.diffusion.training import request_of
from whence.diffusion.training_request import TrainingRequest
from whence.diffusion.visits import VisitSource
from whence.engine import DEFAULT, Engine
from whence.errors import ArtefactError, MismatchError, ModelError
from whence.metagradient.replay import Replay
from whence.metagradient.weighted_loss import WeightedLoss

#: Largest distance of the replayed averaged weights from those saved, relative to the norm of those saved.
TOLERANCE = 1e-4


def open_replay(run: Path | AdapterRun, data: Dataset, examples: Examples, engine: Engine = DEFAULT) -> Replay:
    """Return the replay of a finished run on the device of the engine.

    Args:
        run: The run directory, with its base if it trained an adapter.
        data: The images that it was trained on.
        examples: These as its network gets them.
        engine: Where the replay runs.

    Raises:
        ArtefactError: The directory has no record, lacks the weights that the run began with, or is damaged.
        MismatchError: The data or the settings are not those of the run.
        ModelError: The run can't be differentiated: bfloat16, dropout, or layers with statistics of batches.
    """
    folder = run.folder if isinstance(run, AdapterRun) else run
    if artefacts.kind_of(folder) != "model":
        raise ArtefactError(
            f"{folder} has no record of its training, which the metagradient differentiates. Give a run of "
            "`whence train`."
        )
    record = Record(folder)
    request = _request(run, folder, data)
    model = request.model()
    _require_differentiable(folder, record, model.network)
    if record.ids != examples.ids:
        raise MismatchError(
            f"The training examples of {folder} are others than those given, or in another order. Give the data that "
            "it was trained on, with the same options."
        )
    model.network.to(engine.device).float().train()
    source = VisitSource(examples, request.config.training, model.process, request.captions())
    return Replay.of(WeightedLoss(model), source, torch.tensor(record.weights))


def _request(run: Path | AdapterRun, folder: Path, data: Dataset) -> TrainingRequest:
    """The request by which a run was made, whose settings are those in its manifest."""
    manifest = artefacts.read_manifest(folder, "model")
    lost = [name for name in ("start", "conditions") if name in manifest.inputs]
    if lost:
        raise ArtefactError(
            f"{folder} was trained with a `{lost[0]}` that the directory doesn't have, so it can't be replayed. Train "
            "a run without it."
        )
    request = request_of(data, read_config(folder / "config.toml"), **training_parts(run))
    for name, made in request.made.items():
        if made != manifest.made.get(name):
            raise MismatchError(
                f"The settings of the {name} of {folder} in its config.toml are not those in its manifest, so it can't "
                "be replayed. Restore the file, or train the run again with this version."
            )
    return request


def training_parts(run: Path | AdapterRun) -> dict[str, Any]:
    """Return the folders that the training of a run needs beside its data, by the names of the arguments of `train`."""
    folder = run.folder if isinstance(run, AdapterRun) else run
    parts: dict[str, Any] = {"base": run.base if isinstance(run, AdapterRun) else None}
    inputs = artefacts.read_manifest(folder, "model").inputs
    return parts | {name: folder for name in ENCODERS if name in inputs}


def _require_differentiable(folder: Path, record: Record, network: nn.Module) -> None:
    """Check that the steps of a run are functions of weights that can be differentiated twice."""
    problem = ""
    if record.training.precision != "float32":
        problem = f"it was trained in {record.training.precision}, and the replay computes in float32"
    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            problem = f"its network has dropout ({name}), which is random"
        if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats:
            problem = f"its network has a layer that keeps statistics of batches ({name})"
        if getattr(layer, "gradient_checkpointing", False):
            problem = f"its network checkpoints gradients ({name or type(network).__name__})"
    if problem:
        raise ModelError(f"{folder} has no metagradient: {problem}. Train a run without that.")


def require_replayed(replay: Replay, average: Tensor, saved: DiffusionModel, name: str) -> float:
    """Return the distance of the replayed averaged weights [P] from those of the saved model, relative to their norm.

    Raises:
        MismatchError: It is above `TOLERANCE`; the message names the parameter that differs most.
    """
    own, parameters = dict(saved.network.named_parameters()), replay.loss.parameters
    kept = [own[key].detach().to(average).flatten() for key in parameters]
    pieces = torch.split(average, [len(piece) for piece in kept])
    distances = torch.stack([(piece - one).norm() for piece, one in zip(pieces, kept, strict=True)])
    distance = float(distances.norm() / torch.cat(kept).norm())
    if not distance <= TOLERANCE:
        worst = list(parameters)[int(distances.argmax())]
        raise MismatchError(
            f"The replay of {name} ends {distance:.2g} of their norm away from the averaged weights that it saved, "
            f"most in {worst}; at most {TOLERANCE:g} is accepted. Replay it with the versions and on the device that "
            "trained it, which its manifest states."
        )
    return distance
