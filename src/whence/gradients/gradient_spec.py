"""The gradient spec: a checkpoint, the parameters that are differentiated and what is kept of their gradients.

STORE/MODEL/subject/  an artefact: the shares of the layers in the gradient, their widths, and which layers there are
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.cost import median_seconds
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.checks import require_range, require_shapes
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.engine import DEFAULT, Engine, one_thread
from whence.errors import MismatchError, NotFiniteError
from whence.gradients.batch_rows import count_tokens, fastest_multiple, suitable_batch
from whence.gradients.collector import Collector, check
from whence.gradients.compression import VERSION, Compression, layer_widths, maps
from whence.gradients.features import batch_shape
from whence.gradients.layers import Coverage, coverage
from whence.gradients.trial_batch import TrialBatch
from whence.gradients.widths import layer_shares

KIND = "subject"
#: Names of the JSON files of what is measured.
FILES = ("shares", "widths", "multiple")
#: Rows of the comparison with autograd.
CHECKED = 4
#: Readouts whose gradients the widths follow, whichever readouts the methods use.
MEASURED = ("loss", "squared-norm")


@dataclass(frozen=True)
class GradientSpec:
    """What features are made with. `make_gradient_spec` measures it.

    Attributes:
        checkpoint: The model.
        fingerprint: Its fingerprint.
        compression: Settings of the compression, shares and widths of the layers, and the layers that are left out.
        size: Number of parameters that are differentiated.
        multiple: How many times the rows that suit a processor a batch has: measured on a GPU, else 1.
    """

    checkpoint: Checkpoint | LoadedCheckpoint
    fingerprint: str
    compression: Mapping[str, Any]
    size: int
    multiple: int = 1

    @property
    def can_travel(self) -> bool:
        """Whether another process can open the model."""
        return isinstance(self.checkpoint, Checkpoint)

    def open(self, engine: Engine = DEFAULT) -> tuple[DiffusionModel, Collector]:
        """The model on the engine's device, and its collector; a `MismatchError` if the model changed meanwhile."""
        model, collector = _open(self, engine.device)
        model.network.to(engine.device).eval()
        return model, collector

    def __hash__(self) -> int:
        return hash((self.checkpoint, self.fingerprint))


@lru_cache(maxsize=2)
def _open(spec: GradientSpec, device: torch.device) -> tuple[DiffusionModel, Collector]:
    """Open the model and make the random matrices once; a process then makes many shards with them."""
    model = spec.checkpoint.open()
    if isinstance(spec.checkpoint, Checkpoint) and fingerprint(model) != spec.fingerprint:
        raise MismatchError(f"{spec.checkpoint.folder} changed while features were made. Run the command again.")
    settings, cover = spec.compression, coverage(model.network, spec.checkpoint.parameters)
    layer_maps = maps(cover, Compression(**settings["settings"]), settings["shares"], device)
    return model, Collector(model.network, cover, layer_maps, settings["autocast"])


def make_gradient_spec(
    folder: Path,
    checkpoint: Checkpoint | LoadedCheckpoint,
    examples: Examples,
    compression: Compression,
    *,
    autocast: bool = False,
    keep: bool = True,
    engine: Engine = DEFAULT,
) -> GradientSpec:
    """Return the gradient spec of a model: it is checked, and the widths of its layers are measured or read.

    Args:
        folder: The folder with the features of all models.
        checkpoint: The model, and which of its parameters are differentiated.
        examples: Training examples on which the widths are measured; of several shapes those of the most frequent.
        compression: What is kept of a gradient.
        autocast: Whether the network runs in bfloat16 where that is safe.
        keep: Whether the widths are written to the folder.
        engine: Where work runs.

    Raises:
        ModelError: A parameter can't be differentiated example by example, or its gradient isn't that of autograd.
        DataError: The examples have another size than the model's, or the model was made for another range of values.
        NotFiniteError: A weight is NaN or infinite.
        MismatchError: The folder has widths of this model for other examples or settings.
    """
    model = checkpoint.open()
    require_shapes(model, examples, "training images")
    _require_finite(model)
    cover = coverage(model.network, checkpoint.parameters)
    model.network.to(engine.device).eval()
    inputs = {"model": fingerprint(model), "examples": examples.fingerprint}
    settings = {"version": VERSION, "settings": compression.record()}
    made = {**settings, "autocast": autocast, "left out": list(cover.left_out)}
    path = folder / inputs["model"][:12] / "subject"
    if artefacts.existing(path, KIND, inputs=inputs, made=made) is None:
        measured = _measure(model, cover, examples, compression)
        if keep:
            with artefacts.create(path, KIND, inputs=inputs, made=made) as part:
                for name, value in {**measured, "coverage": cover.report()}.items():
                    artefacts.write_json(part / f"{name}.json", value)
    else:
        measured = {file.stem: artefacts.read_json(file) for file in path.glob("*.json") if file.stem in FILES}
    multiple = int(measured.pop("multiple", 1))
    return GradientSpec(checkpoint, inputs["model"], {**made, **measured}, cover.size, multiple)


def _require_finite(model: DiffusionModel) -> None:
    for name, value in model.network.state_dict().items():
        if not torch.isfinite(value).all():
            raise NotFiniteError(f"The weights {name} of the network are not finite; restore them from a copy.")


def _measure(model: DiffusionModel, cover: Coverage, examples: Examples, compression: Compression) -> dict[str, Any]:
    """Return the shares and widths of the layers, and on a GPU the multiple of rows, after a check of the network."""
    with one_thread():
        most = max(examples.sorted().by_shape(), key=len)
        shares = _measure_shares(model, cover, most, compression)
        measured: dict[str, Any] = {"shares": shares, "widths": layer_widths(cover, compression, shares)}
        if model.device.type == "cuda":
            collector = Collector(model.network, cover, maps(cover, compression, shares, model.device))
            measured["multiple"] = fastest_multiple(partial(_batch_seconds, model, collector, most, compression))
    return measured


def _batch_seconds(
    model: DiffusionModel, collector: Collector, examples: Examples, compression: Compression, multiple: int
) -> float:
    """Return the time of a batch of so many times the rows that suit a processor, after one that isn't counted."""
    rows = np.arange(multiple * suitable_batch(model.size, count_tokens(examples.conditions)))
    trial = TrialBatch.of(model, examples, rows % len(examples), rows // len(examples), compression.seed)

    def batch() -> None:
        for features in collector(trial.x_t, trial.t, trial.cotangents(MEASURED), conditions=trial.conditions):
            features.cpu()

    return median_seconds(batch, 3)


def _measure_shares(
    model: DiffusionModel, cover: Coverage, examples: Examples, compression: Compression
) -> dict[str, float] | None:
    """Compare a few rows with autograd, then measure the shares on one batch, with one draw of each example."""
    count, draws = batch_shape(len(examples), suitable_batch(model.size, count_tokens(examples.conditions)))
    rows = np.arange(count * draws) % min(count, len(examples))
    trial = TrialBatch.of(model, examples, rows, np.arange(count * draws) // count, compression.seed)
    if examples.values.dtype == torch.uint8:
        some_rows = rows[:64]
        names = [examples.ids[n] for n in some_rows]
        require_range(model, examples.x(some_rows), names, **examples.conditions_of(some_rows))
    few = trial.head(CHECKED)
    check(model.network, cover, few.x_t, few.t, few.cotangents(["loss"])[0], few.conditions)
    if compression.kind != "two-sided":
        return None
    layer_maps = maps(cover, compression, device=model.device)
    collector = Collector(model.network, cover, layer_maps)
    cotangents = trial.cotangents(MEASURED)
    shares = layer_shares(layer_maps, collector(trial.x_t, trial.t, cotangents, conditions=trial.conditions))
    return {name: float(f"{share:.4g}") for name, share in shares.items()}
