"""A layer's input that is kept as it is, without a copy, until the layer's cotangent is known."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from whence.errors import ModelError


@dataclass(frozen=True)
class KeptInput:
    """An input, the version that it had when it was used, and the name of its layer."""

    name: str
    x: Tensor
    version: int

    @classmethod
    def of(cls, name: str, x: Tensor) -> KeptInput:
        """Keep the input of a layer."""
        return cls(name, x, x._version)

    def unchanged(self) -> Tensor:
        """Return the input; a `ModelError` if the network has changed it meanwhile."""
        if self.x._version != self.version:
            raise ModelError(f"The input of the layer {self.name!r} was changed in place after its use.")
        return self.x
