"""From a model to a subject: what is differentiated is checked, and the widths of the layers are measured, once.

STORE/MODEL/subject/  an artefact: the shares of the layers in the gradient, their widths, and which layers there are
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.ranges import require_range, require_size
from whence.engine import device, one_thread
from whence.errors import NotFiniteError
from whence.gradients.calibrate import shares
from whence.gradients.check import check
from whence.gradients.collect import Collector
from whence.gradients.compression import VERSION, Compression, maps
from whence.gradients.coverage import Coverage, coverage
from whence.gradients.features import batch_shape
from whence.gradients.readouts import outcome, readout
from whence.gradients.sources import Own
from whence.gradients.subject import Subject
from whence.seeds import derived_seed

KIND = "subject"
#: Rows of the comparison with autograd.
CHECKED = 4
#: Readouts whose gradients the widths follow, whatever is asked for.
MEASURED = ("loss", "squared-norm")
#: Numbers in the images of a batch, at most.
HELD = 2**15


def suitable_batch(size: Sequence[int]) -> int:
    """Return the rows of a batch for examples of some size: fewer of larger ones.

    Example:
        >>> suitable_batch((1, 8, 8)), suitable_batch((3, 32, 32)), suitable_batch((4, 64, 64))
        (256, 32, 8)
    """
    rows = HELD // math.prod(size[1:])
    return max(8, min(256, 1 << max(0, rows.bit_length() - 1)))


def prepare(
    path: Path,
    where: Checkpoint | DiffusionModel,
    examples: Examples,
    compression: Compression,
    *,
    autocast: bool = False,
    only: Callable[[str], bool] | None = None,
) -> tuple[Subject, Coverage]:
    """Check a model and measure the widths of its layers, or read what was measured before.

    Args:
        path: The folder with the stores of all models.
        where: The model, or where it is.
        examples: Training examples on which the widths are measured.
        compression: What is kept of a gradient.
        autocast: Whether the network runs in bfloat16 where that is safe.
        only: Whether the layer of that name is differentiated; default all of them.

    Returns:
        The subject, and the layers that are differentiated.

    Raises:
        ModelError: A parameter can't be differentiated example by example, or its gradient isn't that of autograd.
        DataError: The examples have another size than the model's, or the model was made for another range of values.
        NotFiniteError: A weight is NaN or infinite.
        MismatchError: The store of this model is of other examples or settings.
    """
    model = where.open() if isinstance(where, Checkpoint) else where
    require_size(model, examples.values, "training images")
    _require_finite(model)
    cover = coverage(model.network, only)
    model.network.to(device()).eval()
    inputs = {"model": fingerprint(model), "examples": examples.fingerprint}
    settings = {"version": VERSION, "settings": compression.record()}
    made = {**settings, "autocast": autocast, "left out": list(cover.left_out)}
    file = path / inputs["model"][:12] / "subject"
    if artefacts.existing(file, KIND, inputs=inputs, made=made) is None:
        with one_thread():
            found = _measure(model, cover, examples.sorted(), compression) if compression.kind == "two-sided" else None
        with artefacts.create(file, KIND, inputs=inputs, made=made) as part:
            artefacts.write_json(part / "shares.json", found)
            artefacts.write_json(part / "widths.json", maps(cover, compression, found).widths)
            artefacts.write_json(part / "coverage.json", cover.report())
    measured = {name: artefacts.read_json(file / f"{name}.json") for name in ("shares", "widths")}
    return Subject(where, inputs["model"], {**made, **measured}, only), cover


def _require_finite(model: DiffusionModel) -> None:
    for name, value in model.network.state_dict().items():
        if not torch.isfinite(value).all():
            raise NotFiniteError(f"The weights {name} of the network are not finite; restore them from a copy.")


def _measure(model: DiffusionModel, cover: Coverage, examples: Examples, compression: Compression) -> dict[str, float]:
    """Compare a few rows with autograd, then measure the shares on one batch, a draw of each example."""
    count, draws = batch_shape(len(examples), suitable_batch(model.size))
    rows = np.arange(count * draws) % min(count, len(examples))
    source = Own(model.process.draws(derived_seed(compression.seed, "shares")))
    names = [examples.ids[n] for n in rows]
    x, t, noise = source(examples.x(rows), names, np.arange(count * draws) // count)
    x, t, noise = x.to(device()), t.to(device()), noise.to(device())
    conditions = {name: value.to(device()) for name, value in examples.conditions_of(rows).items()}

    def cotangent(name: str, few: slice, output: Tensor) -> Tensor:
        return readout(name).cotangent(outcome(model, output, x[few], t[few], noise[few]))

    x_t, few, every = model.process.noised(x, t, noise), slice(0, CHECKED), slice(None)
    some = {name: value[few] for name, value in conditions.items()}
    if examples.values.dtype == torch.uint8:
        some_rows = rows[:64]
        require_range(model, examples.x(some_rows), names[:64], **examples.conditions_of(some_rows))
    check(model.network, cover, x_t[few], t[few], partial(cotangent, "loss", few), some)
    trial = maps(cover, compression, device=device())
    cotangents = [partial(cotangent, name, every) for name in MEASURED]
    found = shares(trial, Collector(model.network, cover, trial)(x_t, t, cotangents, conditions=conditions))
    return {name: float(f"{share:.4g}") for name, share in found.items()}
