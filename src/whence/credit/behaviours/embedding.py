"""How like a picture is what a model draws from the same noise, by the embeddings of a vision model."""

from __future__ import annotations

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.credit.behaviours.features import embedding_features
from whence.retraining.measurement import Measurement


def embedding(folder: str) -> Behaviour:
    """Return the cosine of the embeddings of each drawn query and of what is drawn from its noise, [G].

    Args:
        folder: A folder with a vision model of transformers, such as CLIP or DINO.

    Example:
        >>> embedding("models/clip").about
        'picture'
    """
    features = embedding_features(folder)

    def make(context: Context) -> Values:
        queries = features(context.drawn_queries)

        def values(measurement: Measurement) -> np.ndarray:
            cosines: np.ndarray = (features(measurement.redrawn) * queries).sum(1)
            return cosines

        return values

    title = f"Likeness to the picture in the eyes of {folder}, of what is drawn from the same noise"
    return Behaviour(f"embedding:{folder}", title, "cosine", "picture", frozenset({"redrawn"}), make)
