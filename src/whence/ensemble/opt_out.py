"""An opt-out: one adapter, the mean of the members that never saw some units, as an ordinary LoRA file.

The file has the mean of ΔW of the surviving members (`whence.diffusion.adapters.mean`). Nothing is trained, and none of
the tensors in it depends on an image or a caption of the units: they were made by members that never saw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save

from whence import artefacts
from whence.diffusion.adapters.adapter_file import adapter_tensors, read_adapter
from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.adapters.mean import mean_adapter
from whence.ensemble.model import Ensemble
from whence.errors import ConfigError


@dataclass(frozen=True, eq=False)
class OptOut:
    """An adapter without some units.

    Attributes:
        weights: The mean of ΔW of the survivors.
        units: The units that none of them saw; empty if all members are averaged.
        survivors: The members.
        error: What was cut to keep the rank, ‖ΔW' - mean ΔW‖ / ‖mean ΔW‖; 0 if it is exact.
    """

    weights: AdapterWeights
    units: tuple[str, ...]
    survivors: tuple[int, ...]
    error: float

    @property
    def rank(self) -> int:
        """The largest rank of a layer."""
        return max(len(layer.A) for layer in self.weights.network.values())

    @property
    def content(self) -> bytes:
        """The content of a file that ``load_lora_weights`` opens."""
        content: bytes = save(adapter_tensors(self.weights), {"format": "pt"})
        return content

    def write(self, file: Path) -> None:
        """Write the file, whole or not at all; an old one is replaced."""
        artefacts.write_bytes(file, self.content)


def opt_out(ensemble: Ensemble, without: Sequence[str] = (), rank: int | None = None) -> OptOut:
    """Return the adapter of the members that never saw some units, or of all members.

    Args:
        ensemble: An ensemble of adapters.
        without: The units that are left out together.
        rank: The largest rank of a layer; None for as much as it takes to be exact.

    Raises:
        ConfigError: The members are whole networks.
        DataError: A unit is unknown.
        NoSurvivorsError: Every member saw one of the units.
    """
    if ensemble.base is None:
        raise ConfigError(
            f"The members of {ensemble.path} are whole networks, which no LoRA file can hold. Train an ensemble of "
            "adapters: whence ensemble train DATA --base BASE."
        )
    units = ensemble.codebook.in_order(without) if without else []
    survivors = ensemble.codebook.survivors(units) if units else list(range(ensemble.codebook.members))
    weights, error = mean_adapter([read_adapter(ensemble.adapter(member)) for member in survivors], rank)
    return OptOut(weights, tuple(units), tuple(survivors), error)
