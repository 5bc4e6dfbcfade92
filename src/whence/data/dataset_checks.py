"""Checks of the fields of a data set, and the search for a name in it."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from whence.data.columns import normalise
from whence.errors import DataError, join_names
from whence.ragged import Ragged, count_shapes

if TYPE_CHECKING:
    from whence.data.dataset import Dataset

NO_UNIT = "(none)"
"""The unit of the training examples without a unit."""


def require_images(pixels: np.ndarray | Ragged) -> None:
    """Check that pixels are images uint8 [N, C, H, W] of 1 or 3 channels; a `DataError` if not."""
    for part in pixels.parts if isinstance(pixels, Ragged) else (pixels,):
        if part.dtype != np.uint8 or part.ndim != 4:
            raise DataError(f"Pixels must be uint8 [N, C, H, W], not {part.dtype} {list(part.shape)}.")
        if part.shape[0] == 0:
            raise DataError("The data set has no training example.")
        if part.shape[1] not in (1, 3) or 0 in part.shape:
            raise DataError(f"Images must have 1 or 3 channels and some pixels, not {list(part.shape[1:])}.")


def require_one_shape(data: Dataset, what: str) -> np.ndarray:
    """Return the pixels of images of one shape, which `what` takes alone: ``"An ensemble"``; a `DataError` if not."""
    if isinstance(data.pixels, Ragged):
        raise DataError(
            f"{what} takes images of one shape, and these have several: {count_shapes(data.sizes)}. Give --resolution "
            "without --buckets, which crops and scales all of them to one square."
        )
    return data.pixels


def require_texts(data: Dataset) -> None:
    """Check that texts are valid UTF-8 and that every example has a unit.

    Raises:
        DataError: A text is not, or an example has none, or one text stands for several.
    """
    for name in ("ids", "units", "captions", "classes", "notes"):
        if isinstance(getattr(data, name), str):
            raise DataError(f"The {name} are the text {getattr(data, name)!a}; give a tuple with an entry for each.")
    for id, units, *labels in zip(data.ids, data.units, data.captions, data.classes, strict=True):
        if not isinstance(units, tuple | list):
            raise DataError(f"The units of the training example {id!a} are {units!a}; give a tuple: (NAME,).")
        if not units:
            raise DataError(f"The training example {id!a} has no unit; use {NO_UNIT!r}.")
        for text in (id, *units, *(label for label in labels if label is not None)):
            if not isinstance(text, str) or not text.isascii() and text != _utf8(text):
                raise DataError(f"{text!a} of the training example {id!a} is not text in UTF-8.")


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def require_weights(weights: Sequence[float]) -> None:
    """Check that weights are finite numbers above 0; a `DataError` names one that is not."""
    for weight in weights:
        if not isinstance(weight, int | float) or not math.isfinite(weight) or weight <= 0:
            raise DataError(f"A training example has the weight {weight!r}; a finite number above 0 is expected.")


def require_unique(ids: Sequence[str]) -> None:
    """Check that no id is used twice; a `DataError` names those that are."""
    if len(set(ids)) < len(ids):
        repeated = [id for id, count in Counter(ids).items() if count > 1]
        raise DataError(
            f"Ids must be unique; {len(repeated)} of them are used more than once: {join_names(repeated, most=5)}."
        )


def spelled(name: str, known: Collection[str]) -> str:
    """Return the known name that is the same text as `name` in Unicode's composed form, or `name`."""
    if name in known or name.isascii():
        return name
    return next((other for other in known if normalise(other) == normalise(name)), name)


def unknown(noun: str, name: str, known: Sequence[str]) -> str:
    """Return the message that a name is not among those known, with names like it."""
    close = difflib.get_close_matches(str(name), known, n=3) or list(known[:3])
    return f"There is no {noun} {name!r} among the {len(known)}. Did you mean {', '.join(close)}?"
