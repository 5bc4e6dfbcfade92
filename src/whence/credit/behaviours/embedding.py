"""How like a picture is, to a vision model, what a model draws from the same noise."""

from __future__ import annotations

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Values
from whence.credit.behaviours.features import embedded
from whence.credit.behaviours.pictures import asked
from whence.credit.context import Context
from whence.credit.looks import Look


def embedding(folder: str) -> Behaviour:
    """Return the cosine of the embeddings of each picture asked about and of what is drawn from its noise, [G].

    Args:
        folder: A folder with a vision model of transformers, such as CLIP or DINO.

    Example:
        >>> embedding("models/clip").about
        'picture'
    """
    features = embedded(folder)

    def make(context: Context) -> Values:
        pictures = features(asked(context))

        def values(look: Look) -> np.ndarray:
            found: np.ndarray = (features(look.again) * pictures).sum(1)
            return found

        return values

    title = f"Likeness to the picture in the eyes of {folder}, of what is drawn from the same noise"
    return Behaviour(f"embedding:{folder}", title, "cosine", "picture", frozenset({"again"}), make)
