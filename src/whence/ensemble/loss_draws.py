"""The rows at which losses are measured: pictures with the noise of their draws, in canonical batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.ensemble.model import Ensemble
from whence.errors import NotFiniteError
from whence.seeds import derived_seed

#: Rows of a canonical batch. The last bits of a result depend on it.
BATCH = 128
#: Positions of latents in a canonical batch.
VALUES = 2**13


def losses_batch(ensemble: Ensemble) -> int:
    """Return the rows of a canonical batch of losses: fewer of larger latents."""
    if ensemble.base is None:
        return BATCH
    return max(4, min(BATCH, VALUES // math.prod(ensemble.reference_model.size[1:])))


def loss_draws(model: DiffusionModel, seed: int) -> Draws:
    """Return the draws of losses; they are the same for every way to combine members."""
    return model.process.draws(derived_seed(seed, "losses"))


def noised_rows(
    model: DiffusionModel, queries: Examples, draws: Draws, q: Tensor, k: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return x_t, t and the target of the pictures q at their draws k, both int64 [n]."""
    t, noise = draws([queries.ids[row] for row in q.tolist()], k.numpy(), model.size)
    x = queries.x(q)
    return model.process.noised(x, t, noise), t, model.process.target(x, t, noise)


def root_mask(queries: Examples, q: Tensor) -> Tensor:
    """Return √m of the masks m of the pictures q, by which residuals are multiplied; float64 [n, 1, H, W], or 1.

    The squares then add up to Σ m r², the part of the loss that lies in the mask.
    """
    focus = queries.focus
    if focus is None or focus.mask is None:
        return torch.ones((), dtype=torch.float64)
    return focus.mask[q].double().sqrt()[:, None]


def require_finite(values: Tensor, name: str, draw: int) -> None:
    """Raise NotFiniteError if a loss of a picture at a draw is not finite."""
    if not torch.isfinite(values).all():
        raise NotFiniteError(f"The loss of picture {name!r} is not finite at draw {draw}.")
