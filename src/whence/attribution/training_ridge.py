"""The ridge of training: the λ by which kernel regression learns as much as the recorded run, layer by layer.

Gradient flow for a time τ learns the component of an eigenvalue Λ of the tangent kernel to the share 1 - exp(-Λτ);
ridge regression learns it to Λ / (Λ + λ). Both go from none to all at Λ = λ = 1/τ (Ali, Kolter & Tibshirani 2019, "A
continuous-time view of early stopping for least squares regression", arXiv 1810.10082). A run of AdamW with learning
rates η_s and batches of B examples moves the P_l weights of layer l by η_s g / √v, where the root mean square of the
noise of a batch's gradient stands for √v: ‖g_n‖ / √(B P_l). Kernel and gradient are known from features φ_ln of the
readout `signs`, the mean over T draws, whose signs have no mean: E‖g_n‖² = 4 ρ T ‖φ_ln‖², with ρ the mean loss. So

    λ_l = N √(ρ m_l) / (Σ_s η_s √(T B P_l)),    m_l = 1/N Σ_n ‖φ_ln‖²

Nothing in it is chosen. That a layer is compared as if it alone were trained is the approximation of the method itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from whence.attribution.weighted_checkpoint import WeightedCheckpoint
from whence.diffusion.record import Record
from whence.errors import ConfigError
from whence.gradients.layers import coverage

#: The damping that stands for the ridge of the training.
AUTO = "auto"


@dataclass(frozen=True)
class TrainingRidge:
    """What a recorded run says of its ridge.

    Attributes:
        rates: Σ_s η_s, the sum of the learning rates of all steps.
        batch: B, examples in a step.
        sizes: P_l, the number of weights of each layer, in the order of the features.

    Example:
        >>> ridge = TrainingRidge(rates=2.0, batch=4, sizes=(100,))
        >>> ridge.units([5.0], 0.25, examples=5, draws=16)  # 5 √(.25) / (2 √(16 · 4 · 100))
        (0.015625,)
    """

    rates: float
    batch: int
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, checkpoint: WeightedCheckpoint) -> Self:
        """Return the ridge of the run that a checkpoint is of.

        Raises:
            ConfigError: The model is of no recorded run.
        """
        record, own = Record(recorded(checkpoint)), checkpoint.checkpoint
        layers = coverage(own.open().network, own.parameters).layers.values()
        rates = float(record["learning_rate"].sum())
        return cls(rates, record.training.batch, tuple(layer.size for layer in layers))

    def units(self, squares: Sequence[float], mean_loss: float, examples: int, draws: int) -> tuple[float, ...]:
        """Return λ_l of every layer, from Σ_n ‖φ_ln‖² of features that are means over so many draws of N examples."""
        scale = examples * mean_loss**0.5 / (self.rates * (draws * self.batch) ** 0.5)
        parts = zip(squares, self.sizes, strict=True)
        return tuple(scale * (square / examples / size) ** 0.5 for square, size in parts)


def recorded(checkpoint: WeightedCheckpoint) -> Path:
    """Return the directory of the run that a checkpoint is of.

    Raises:
        ConfigError: The model is of no recorded run.
    """
    if checkpoint.run is None:
        raise ConfigError(
            "--damping auto is the ridge of a recorded run (`whence train`, `whence ensemble train`), and this model "
            "has no record of its training. Give a number, or leave --damping out."
        )
    return checkpoint.run
