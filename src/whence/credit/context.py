"""What all models are compared on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.data import Dataset
from whence.errors import DataError


@dataclass(frozen=True, eq=False)
class Context:
    """What all models are compared on; it depends on what was asked and not on the models of coalitions.

    Attributes:
        data: Training examples.
        held_out: H pictures that training never saw; None where there are none.
        names: SEED/INDEX of the K pictures that every model draws.
        reference: The same pictures as the full model draws them, uint8 [K, C, H, W].
        queries: Q pictures that are asked about; None where it is about the model alone.
        drawn: Which queries the full model drew, so that every model can draw them again from the noise of their id,
            bool [Q].
        draws: Draws at which the loss of a picture is measured.
        seed: Seed of these draws.

    Example:
        >>> data = Dataset(("a",), np.zeros((1, 1, 8, 8), np.uint8), (("anna",),), ("7",))
        >>> reference = np.zeros((2, 1, 8, 8), np.uint8)
        >>> Context(data, None, ("0/0", "0/1"), reference, None, np.zeros(0, bool)).again
        ()
    """

    data: Dataset
    held_out: Dataset | None
    names: tuple[str, ...]
    reference: np.ndarray
    queries: Dataset | None
    drawn: np.ndarray
    draws: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that everything fits.

        Raises:
            DataError: It doesn't.
        """
        asked = len(self.queries) if self.queries is not None else 0
        if self.drawn.dtype != bool or self.drawn.shape != (asked,):
            raise DataError(f"Which of {asked} queries were drawn is {self.drawn.dtype} {self.drawn.shape}.")
        if self.reference.dtype != np.uint8 or self.reference.shape != (len(self.names), *self.data.size):
            given = f"{self.reference.dtype} {self.reference.shape}"
            raise DataError(f"Reference pictures are {given}, expected uint8 {(len(self.names), *self.data.size)}.")
        for role, pictures in (("Held-out pictures", self.held_out), ("Queries", self.queries)):
            if pictures is not None and pictures.size != self.data.size:
                raise DataError(f"{role} are of the size {pictures.size}; the training examples are {self.data.size}.")

    @property
    def again(self) -> tuple[str, ...]:
        """Ids of the G queries that can be drawn again."""
        if self.queries is None:
            return ()
        return tuple(name for name, drawn in zip(self.queries.ids, self.drawn, strict=True) if drawn)
