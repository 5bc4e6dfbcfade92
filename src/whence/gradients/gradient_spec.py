"""The gradient spec: a checkpoint, the parameters that are differentiated and what is kept of their gradients.

STORE/MODEL/subject/  an artefact: the shares of the layers in the gradient, their widths, and which layers there are
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.checks import require_range, require_shapes
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.repeated import Repeated
from whence.engine import DEFAULT, Engine, one_thread
from whence.errors import MismatchError, NotFiniteError
from whence.gradients.collector import Collector, check
from whence.gradients.compression import VERSION, Compression, maps
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import batch_shape
from whence.gradients.layers import Coverage, coverage
from whence.gradients.readouts import outcome, readout
from whence.gradients.widths import layer_shares
from whence.seeds import derived_seed

KIND = "subject"
#: Rows of the comparison with autograd.
CHECKED = 4
#: Readouts whose gradients the widths follow, whichever readouts the methods use.
MEASURED = ("loss", "squared-norm")
#: Largest number of values in the images of a batch.
VALUES = 2**15


@dataclass(frozen=True)
class GradientSpec:
    """What features are made with. `make_gradient_spec` measures it.

    Attributes:
        checkpoint: The model.
        fingerprint: Its fingerprint.
        compression: Settings of the compression, shares and widths of the layers, and the layers that are left out.
        size: Number of parameters that are differentiated.
    """

    checkpoint: Checkpoint | LoadedCheckpoint
    fingerprint: str
    compression: Mapping[str, Any]
    size: int

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


def suitable_batch(size: Sequence[int], tokens: int = 0) -> int:
    """Return the number of rows of a batch for examples of some size (C, H, W): fewer rows of larger examples.

    The layers of a network keep as many values as an example has positions, or tokens of a text where these are more.

    Example:
        >>> suitable_batch((1, 8, 8)), suitable_batch((3, 32, 32)), suitable_batch((4, 64, 64))
        (256, 32, 8)
        >>> suitable_batch((4, 8, 8), tokens=512)
        64
    """
    rows = VALUES // max(math.prod(size[1:]), tokens)
    return max(8, min(256, 1 << max(0, rows.bit_length() - 1)))


def batch_of(examples: Examples) -> int:
    """Return the number of rows of a batch for these examples, the largest of them."""
    return suitable_batch(max(examples.sizes, key=math.prod), count_tokens(examples.conditions))


def count_tokens(conditions: Mapping[str, Tensor | Repeated]) -> int:
    """Return the number of tokens of a text among the conditions of an example; 0 where there is none.

    Example:
        >>> count_tokens({"encoder_hidden_states": torch.zeros(2, 77, 16), "class_labels": torch.zeros(2)})
        77
    """
    shapes = [one[[0]].shape for one in conditions.values()]
    return max((shape[1] for shape in shapes if len(shape) == 3), default=0)


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
        measured = {name: artefacts.read_json(path / f"{name}.json") for name in ("shares", "widths")}
    return GradientSpec(checkpoint, inputs["model"], {**made, **measured}, cover.size)


def _require_finite(model: DiffusionModel) -> None:
    for name, value in model.network.state_dict().items():
        if not torch.isfinite(value).all():
            raise NotFiniteError(f"The weights {name} of the network are not finite; restore them from a copy.")


def _measure(model: DiffusionModel, cover: Coverage, examples: Examples, compression: Compression) -> dict[str, Any]:
    """Check the network, and return the shares of the layers, which only two-sided compression needs, and widths."""
    with one_thread():
        most = max(examples.sorted().by_shape(), key=len)
        shares = _measure_shares(model, cover, most, compression)
    return {"shares": shares, "widths": maps(cover, compression, shares).widths}


def _measure_shares(
    model: DiffusionModel, cover: Coverage, examples: Examples, compression: Compression
) -> dict[str, float] | None:
    """Compare a few rows with autograd, then measure the shares on one batch, with one draw of each example."""
    count, draws = batch_shape(len(examples), suitable_batch(model.size, count_tokens(examples.conditions)))
    rows = np.arange(count * draws) % min(count, len(examples))
    source = OwnDraws(model.process.draws(derived_seed(compression.seed, "shares")))
    names = [examples.ids[n] for n in rows]
    x, (t, noise) = examples.x(rows), source(names, np.arange(count * draws) // count, examples.size)
    x, t, noise = x.to(model.device), t.to(model.device), noise.to(model.device)
    conditions = {name: value.to(model.device) for name, value in examples.conditions_of(rows).items()}

    def cotangent(name: str, few: slice, output: Tensor) -> Tensor:
        return readout(name).cotangent(outcome(model, output, x[few], t[few], noise[few]))

    x_t, few, every = model.process.noised(x, t, noise), slice(0, CHECKED), slice(None)
    some = {name: value[few] for name, value in conditions.items()}
    if examples.values.dtype == torch.uint8:
        some_rows = rows[:64]
        require_range(model, examples.x(some_rows), names[:64], **examples.conditions_of(some_rows))
    check(model.network, cover, x_t[few], t[few], partial(cotangent, "loss", few), some)
    if compression.kind != "two-sided":
        return None
    trial = maps(cover, compression, device=model.device)
    cotangents = [partial(cotangent, name, every) for name in MEASURED]
    shares = layer_shares(trial, Collector(model.network, cover, trial)(x_t, t, cotangents, conditions=conditions))
    return {name: float(f"{share:.4g}") for name, share in shares.items()}
