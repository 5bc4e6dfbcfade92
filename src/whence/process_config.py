"""The settings of a process: what the loss of a training depends on beside the network and the noise schedule.

    ℓ = w(t) mean (output - target)²,    t from a density,    ε standard normal, perhaps with an offset

They are part of what a score estimates. What is left open is as the diffusers trainer of the model's family has it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from whence.errors import ConfigError
from whence.settings import Settings

Positive = Annotated[float, Field(gt=0)]
#: Settings that mean something for one kind of process alone.
OF_FLOWS = (
    *("density", "logit_mean", "logit_std", "mode_scale", "weighting", "precondition"),
    *("shift", "mu", "guidance"),
)
OF_VARIANCE_PRESERVING = ("snr_gamma",)


class ProcessConfig(Settings):
    """The process that a model was trained on, where its scheduler does not say it.

    Example:
        >>> trainer = ProcessConfig(density="logit_normal", logit_std=1.0)
        >>> ProcessConfig(logit_std=0.5).completed(trainer).record()
        {'density': 'logit_normal', 'logit_std': 0.5}
    """

    density: Literal["uniform", "logit_normal", "mode"] | None = Field(
        None,
        description="Density of the time u of flows, as diffusers' trainers call it; u = 1 has no noise.",
    )
    logit_mean: float | None = Field(None, description="Mean of log(u / (1 - u)) of the logit-normal density.")
    logit_std: Positive | None = Field(None, description="Standard deviation of log(u / (1 - u)).")
    mode_scale: Annotated[float, Field(ge=-1, le=1.75)] | None = Field(None, description="Scale of the mode density.")
    weighting: Literal["none", "sigma_sqrt", "cosmap"] | None = Field(
        None, description="Weight of the loss of flows: none, sigma_sqrt (σ⁻²) or cosmap (2 / (π (1 - 2σ + 2σ²)))."
    )
    precondition: bool | None = Field(
        None, description="Whether flows are trained on the error of x_t - σ output as the clean example: a weight σ²."
    )
    shift: Positive | None = Field(None, description="Shift s of σ in training: s σ / (1 + (s - 1) σ).")
    mu: float | None = Field(
        None, description="μ of a scheduler with dynamic shifting, in training; in place of shift."
    )
    guidance: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Guidance that networks with embedded guidance are given, in training and drawing."
    )
    snr_gamma: Positive | None = Field(
        None, description="γ of min-SNR weights of variance preserving processes; default no weights."
    )
    noise_offset: Positive | None = Field(
        None, description="Size of a normal number for each channel that is added to the noise; default none."
    )

    def completed(self, trainer: ProcessConfig) -> Self:
        """Return these settings, with what is open as a trainer has it.

        Raises:
            ConfigError: There are both `shift` and `mu`.
        """
        own, theirs = self.record(), trainer.record()
        if "shift" in own and "mu" in own:
            raise ConfigError("process.shift and process.mu are two ways to say the shift; give one of them.")
        if "mu" in own:
            theirs.pop("shift", None)
        return type(self)(**theirs | own)

    def record(self) -> dict[str, Any]:
        """The settings that are not open, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    def refuse(self, names: tuple[str, ...], process: str) -> None:
        """Refuse settings of some names, which mean nothing for a process.

        Raises:
            ConfigError: One of them is given.
        """
        given = [name for name in names if getattr(self, name) is not None]
        if given:
            raise ConfigError(f"process.{given[0]} means nothing for a {process} process; leave it out.")


#: Settings with everything left open.
OPEN = ProcessConfig()
