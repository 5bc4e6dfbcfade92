"""Looks: what one model shows, on noise and pictures that all models share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from whence import artefacts
from whence.config import SamplerConfig
from whence.credit.context import Context
from whence.data import Dataset
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError
from whence.evaluation.bank.measure import draw_again, measure_losses
from whence.seeds import derived_seed

#: Kind of the artefact.
KIND = "look"
#: A part of a look.
Need = Literal["pictures", "held_out", "losses", "again"]
NEEDS: tuple[Need, ...] = ("pictures", "held_out", "losses", "again")


@dataclass(frozen=True, eq=False)
class Look:
    """What one model shows; what wasn't asked for has no rows.

    Attributes:
        pictures: The pictures of the context's names, uint8 [K, C, H, W].
        held_out: Loss of every held-out picture, float64 [H].
        losses: Loss of every query, float64 [Q].
        again: The drawn queries drawn again from their noise, in their order, uint8 [G, C, H, W].

    Example:
        >>> none = np.zeros((0, 1, 8, 8), np.uint8)
        >>> Look(none, np.zeros(0), np.ones(3), none).losses.tolist()
        [1.0, 1.0, 1.0]
    """

    pictures: np.ndarray
    held_out: np.ndarray
    losses: np.ndarray
    again: np.ndarray

    def write(
        self,
        path: Path,
        inputs: dict[str, Any],
        made: dict[str, Any],
        facts: dict[str, Any] | None = None,
        patience: float = 0.0,
    ) -> None:
        """Write it as an artefact, see `artefacts.create`; one that is there already is left as it is."""
        if artefacts.existing(path, KIND, inputs=inputs, made=made) is not None:
            return
        with artefacts.create(path, KIND, inputs=inputs, made=made, facts=facts, patience=patience) as part:
            tensors: dict[str, torch.Tensor] = {
                name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in NEEDS
            }
            artefacts.write_tensors(part / "look.safetensors", tensors)

    @classmethod
    def read(cls, path: Path) -> Look:
        """Return what `write` wrote, checked by hash.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        artefacts.read_verified(path, KIND)
        tensors = artefacts.read_tensors(path / "look.safetensors")
        if set(tensors) != set(NEEDS):
            raise ArtefactError(f"{path} is not a whole look: it has {sorted(tensors)}, expected {sorted(NEEDS)}.")
        return cls(**{name: tensor.numpy() for name, tensor in tensors.items()})


def measure(model: DiffusionModel, context: Context, config: SamplerConfig, needs: Collection[Need]) -> Look:
    """Return what a model shows: the pictures that it draws, and its losses at draws that all models share.

    A picture or a loss doesn't depend on what else is measured.

    Args:
        model: The model of a coalition.
        context: What all models are compared on.
        config: How pictures are drawn.
        needs: What is measured, of `NEEDS`.

    Returns:
        Losses are mean squared errors per element of the network's output; larger is a worse fit.

    Raises:
        NotFiniteError: A loss or a picture is not finite.

    Example:
        >>> from whence.config import ModelConfig
        >>> data = Dataset(("a",), np.zeros((1, 1, 4, 4), np.uint8), (("anna",),), (None,))
        >>> context = Context(data, None, ("0/0",), np.zeros((1, 1, 4, 4), np.uint8), data, np.zeros(1, bool))
        >>> model = DiffusionModel.new(ModelConfig(channels=(8,)), (1, 4, 4), seed=0)
        >>> look = measure(model, context, SamplerConfig(method="ddim", steps=2), ["pictures", "losses"])
        >>> look.pictures.shape, look.losses.shape, look.held_out.shape
        ((1, 1, 4, 4), (1,), (0,))
    """
    names = context.names if "pictures" in needs else ()
    again = context.again if "again" in needs else ()
    unique = tuple(dict.fromkeys((*names, *again)))
    place = {name: k for k, name in enumerate(unique)}
    pictures = draw_again(model, config, unique)
    draws = model.process.draws(derived_seed(context.seed, "measurement"))

    def losses(of: Dataset | None, need: Need) -> np.ndarray:
        return measure_losses(model, of, draws, context.draws) if of is not None and need in needs else np.zeros(0)

    return Look(
        pictures[[place[name] for name in names]],
        losses(context.held_out, "held_out"),
        losses(context.queries, "losses"),
        pictures[[place[name] for name in again]],
    )
