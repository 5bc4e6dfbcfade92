"""How far captions fit: the loss of an image with its caption, against that with none and with those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from whence.audit.fits import Fit
from whence.data import Dataset
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.conditioner import Conditioner
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.repeated import Repeated
from whence.engine import DEFAULT, Engine, staged
from whence.errors import ConfigError
from whence.similarity.nearest import nearest

#: Images with other captions, the nearest by pixels, whose captions are tried.
OTHERS = 4
#: Nearest images that are searched for each caption.
SEARCHED = 16


@dataclass(frozen=True)
class CaptionFit:
    """How far captions fit their images; larger is worse, and above zero another caption fits better.

    Attributes:
        gain: ℓ(own caption) - ℓ(no caption), float64 [N]; NaN for a model of classes without a label for no class.
        excess: ℓ(own caption) - the smallest ℓ with a caption of others, float64 [N].
        best: The caption of others with that loss, N.
    """

    gain: np.ndarray
    excess: np.ndarray
    best: tuple[str, ...]


def caption_fit(
    fit: Fit, encoders: Encoders, data: Dataset, examples: Examples, own: np.ndarray, *, engine: Engine = DEFAULT
) -> CaptionFit | None:
    """Return how far the captions of training images fit; None for a model without text, or data without captions.

    All losses of an image are at the same draws, so their differences have little noise. The captions that are tried
    are those of the `OTHERS` nearest images by pixels that have other captions.

    Args:
        fit: The losses.
        encoders: Those of the model.
        data: The training images.
        examples: The images as the model gets them.
        own: Their losses with their own captions, float64 [N].
        engine: Its report is called with (network evaluations done, evaluations in all).
    """
    captions = encoders.captions(data)
    if not any(captions) or encoders.text is None:
        return None
    others = other_captions(data, captions)
    varied = [_without_caption(encoders.text, examples)]
    varied += [
        replace(examples, conditions=encoders.conditions(texts, data.sizes)) for texts in zip(*others, strict=True)
    ]
    stages = staged(engine, [fit.evaluations(len(data))] * len(varied))
    unknown = np.full(len(data), np.nan)
    losses = np.stack(
        [unknown if one is None else fit.losses(one, stage) for one, stage in zip(varied, stages, strict=True)]
    )
    best = tuple(others[n][k] for n, k in enumerate(losses[1:].argmin(0)))
    return CaptionFit(own - losses[0], own - losses[1:].min(0), best)


def other_captions(data: Dataset, captions: Sequence[str], count: int = OTHERS) -> list[tuple[str, ...]]:
    """Return for every image `count` captions of the nearest images with another caption; its own where there is none.

    Example:
        >>> pixels = np.array([0, 9, 1, 2], np.uint8).reshape(4, 1, 1, 1)
        >>> data = Dataset(tuple("abcd"), pixels, (("u",),) * 4, ("cat", "cow", "cat", "dog"))
        >>> other_captions(data, data.captions, 2)[0]
        ('dog', 'cow')
    """
    distinct = {text: number for number, text in enumerate(dict.fromkeys(captions))}
    labels = np.array([distinct[text] for text in captions])
    pixels = require_one_shape(data, "An audit of data")
    places, distances = nearest(pixels, pixels, SEARCHED * count, apart=(labels, labels))
    found = []
    for n, (line, apart) in enumerate(zip(places, distances, strict=True)):
        texts = list(dict.fromkeys(captions[k] for k, distance in zip(line, apart, strict=True) if distance < np.inf))
        texts = texts[:count] or [captions[n]]
        found.append(tuple(texts[k % len(texts)] for k in range(count)))
    return found


def _without_caption(text: Conditioner, examples: Examples) -> Examples | None:
    """The images with what stands for no caption; None where a model of classes has no label for no class."""
    try:
        empty = text.dropped()
    except ConfigError:
        return None
    rows = torch.zeros(len(examples), dtype=torch.int64)
    return replace(
        examples, conditions={**examples.conditions, **{name: Repeated(one, rows) for name, one in empty.items()}}
    )
