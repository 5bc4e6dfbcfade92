"""The subject: a model, the layers that are differentiated and what is kept of them, in a form that can travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.engine import device
from whence.errors import MismatchError
from whence.gradients.collect import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.coverage import coverage


@dataclass(frozen=True)
class Subject:
    """What features are made with.

    Attributes:
        model: Where the model is, or the model itself.
        fingerprint: Of the model.
        compression: The settings of the compression, shares and widths of the layers and which layers take part.
        only: Whether the layer of that name is differentiated; default all of them.
    """

    model: Checkpoint | DiffusionModel
    fingerprint: str
    compression: Mapping[str, Any]
    only: Callable[[str], bool] | None = None

    @property
    def can_travel(self) -> bool:
        """Whether another process can open the model."""
        return isinstance(self.model, Checkpoint) and self.only is None

    def opened(self) -> tuple[DiffusionModel, Collector]:
        """Return the model on the device where networks run, and its collector.

        Raises:
            MismatchError: The model changed since the work was planned.
        """
        model, collector = _opened(self)
        model.network.to(device()).eval()
        return model, collector

    def __hash__(self) -> int:
        return hash((self.model, self.fingerprint))


@lru_cache(maxsize=2)
def _opened(subject: Subject) -> tuple[DiffusionModel, Collector]:
    """Open the model and make the matrices, once: a process makes one shard after the other with them."""
    model = subject.model if isinstance(subject.model, DiffusionModel) else subject.model.open()
    if isinstance(subject.model, Checkpoint) and fingerprint(model) != subject.fingerprint:
        raise MismatchError(f"{subject.model.folder} changed while features were made. Run the command again.")
    settings, cover = subject.compression, coverage(model.network, subject.only)
    made = maps(cover, Compression(**settings["settings"]), settings["shares"], device())
    return model, Collector(model.network, cover, made, settings["autocast"])
