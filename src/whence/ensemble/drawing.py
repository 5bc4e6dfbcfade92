"""A drawing: how an ensemble draws pictures, by which sampler, from which prompts, and how members are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whence.config import SamplerConfig
from whence.diffusion.conditioner import Conditioner
from whence.diffusion.prompts import Prompts
from whence.errors import ConfigError

#: The mean of the members' predictions; or the prediction of the base with the mean of the members' changes of weights.
Combine = Literal["predictions", "weights"]


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn.

    Attributes:
        sampler: The settings of the sampler.
        prompts: What they are drawn from; None for members that take no text.
        combine: ``predictions``: each step takes the mean of what the members predict. ``weights``: the members are
            adapters on one base, and each step takes what the base predicts with the mean of their ΔW.

    Example:
        >>> Drawing(SamplerConfig(steps=10)).record()["sampler"]["steps"]
        10
    """

    sampler: SamplerConfig
    prompts: Prompts | None = None
    combine: Combine = "predictions"

    @classmethod
    def of(cls, made: Mapping[str, Any]) -> Drawing:
        """Return the drawing in the manifest of pictures."""
        sampler = SamplerConfig(**made["sampler"])
        if "prompts" not in made:
            return cls(sampler)
        return cls(sampler, Prompts.of_record(made["prompts"]), made["combine"])

    def record(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        own = {} if self.prompts is None else {"prompts": self.prompts.record(), "combine": self.combine}
        return {"sampler": self.sampler.record(), **own}

    def with_sampler(self, **changes: Any) -> Drawing:
        """The same drawing with other settings of the sampler."""
        return replace(self, sampler=self.sampler.model_copy(update=changes))

    def captions(self, names: Sequence[str]) -> tuple[str, ...]:
        """The prompts of pictures by their names SEED/INDEX; none without text."""
        return () if self.prompts is None else self.prompts.of(names)


def complete_drawing(
    text: Conditioner | None, sampler: SamplerConfig, prompts: Prompts | None, combine: Combine = "predictions"
) -> Drawing:
    """Return the drawing of members with a conditioner or without; no prompts are the empty one without guidance.

    Raises:
        ConfigError: Members that take no text get prompts, or their weights are to be combined.
    """
    if text is not None:
        return Drawing(sampler, (prompts or Prompts(guidance=1.0)).completed(text.guidance), combine)
    if prompts is not None:
        raise ConfigError("There are prompts, and the members of the ensemble take no text. Leave them out.")
    if combine != "predictions":
        require_adapters(False)
    return Drawing(sampler)


def require_adapters(on_one_base: bool) -> None:
    """Raise ConfigError unless members are adapters on one base, whose weights have a mean."""
    if not on_one_base:
        raise ConfigError("The members are whole networks, whose weights have no mean. Leave --combine out.")
