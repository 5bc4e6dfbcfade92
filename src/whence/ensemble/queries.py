"""The pictures that are asked about: drawn by the ensemble, or any others."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from whence.data import load
from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.ensemble.suspects import expand_names


def read_queries(ensemble: Ensemble, source: str) -> tuple[list[str], Tensor]:
    """Return ids and pictures, float32 [Q, C, H, W] in [-1, 1], in the ensemble's size.

    Args:
        ensemble: A whole ensemble.
        source: SEED/INDEX or SEED/FIRST-LAST of pictures that it has drawn, or whatever `load` reads: a folder of
            images, ``digits:test``, a data set. Other sizes are cropped to the centre and scaled; grey, if it is grey.

    Raises:
        ArtefactError: A sample has not been drawn.
        DataError: There is no such data set.
    """
    if re.fullmatch(r"\d+/\d+(-\d+)?", source):
        names, opened = expand_names([source]), dict[int, Samples]()
        found = [find_sample(ensemble, name, opened) for name in names]
        return names, torch.stack([samples.pictures[index] for samples, index in found])
    channels, height, width = ensemble.schedule.size
    data = load(source, resolution=height if height == width else None, grey=channels == 1)
    return list(data.ids), data.images(range(len(data)))
