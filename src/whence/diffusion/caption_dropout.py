"""Caption dropout: some visits of an example have the empty caption, so that a model can be guided when it draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.config import TrainingConfig
from whence.diffusion.draws import caption_drops
from whence.diffusion.encoding import Encoders


@dataclass(frozen=True, eq=False)
class CaptionDropout:
    """The caption dropout of a training run (Ho & Salimans 2022), a function of (seed, example id, visit).

    Attributes:
        probability: Probability that a visit has the empty caption.
        seed: Seed of the run.
        empty: The conditions of the empty caption, or of no class, by name, [1, ...] each.

    Example:
        >>> dropout = CaptionDropout(0.5, 0, {"text": torch.zeros(1, 2)})
        >>> dropped = dropout.drops(["a"] * 4, np.arange(4))
        >>> bool((dropout.apply({"text": torch.ones(4, 2)}, dropped)["text"][:, 0] == ~torch.from_numpy(dropped)).all())
        True
    """

    probability: float
    seed: int
    empty: Mapping[str, Tensor]

    @classmethod
    def of(cls, training: TrainingConfig, encoders: Encoders) -> CaptionDropout | None:
        """Return the caption dropout of a run with these settings and encoders; None without."""
        if not training.caption_dropout or encoders.text is None:
            return None
        return cls(training.caption_dropout, training.seed, encoders.text.dropped())

    def drops(self, ids: Sequence[str], visits: np.ndarray) -> np.ndarray:
        """Whether these visits of examples have the empty caption, bool [n]."""
        return caption_drops(self.seed, ids, visits, self.probability)

    def apply(self, conditions: Mapping[str, Tensor], dropped: np.ndarray) -> dict[str, Tensor]:
        """Return conditions [n, ...] with those of the empty caption where it was dropped; those of sizes stay."""
        mask, changed = torch.from_numpy(dropped), dict(conditions)
        for name, empty in self.empty.items():
            value = conditions[name]
            changed[name] = torch.where(mask.reshape(-1, *[1] * (value.dim() - 1)), empty.to(value), value)
        return changed

    def record(self) -> dict[str, Any]:
        """Everything that the conditions of a visit depend on beside the caption, for a manifest."""
        empty = artefacts.tensor_digests(self.empty)
        return {"probability": self.probability, "seed": self.seed, "empty": artefacts.digest(empty)}
