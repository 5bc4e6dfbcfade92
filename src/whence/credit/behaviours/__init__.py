"""Behaviours: what is shared out among contributors. A new one is a file with its function, and one line here."""

from __future__ import annotations

from collections.abc import Callable

from whence.credit.behaviours.classes import classes
from whence.credit.behaviours.coverage import coverage, precision
from whence.credit.behaviours.declaration import Behaviour, Values
from whence.credit.behaviours.diversity import diversity
from whence.credit.behaviours.embedding import embedding
from whence.credit.behaviours.features import embedded
from whence.credit.behaviours.function import function_of, of_function
from whence.credit.behaviours.held_out import FIT, HELD_OUT_FIT
from whence.credit.behaviours.pictures import DISTANCE, SSIM
from whence.credit.behaviours.score import scored
from whence.errors import ConfigError

__all__ = ["BEHAVIOURS", "Behaviour", "Values", "behaviour", "of_function"]

#: Behaviours without an argument, by name.
BEHAVIOURS: dict[str, Behaviour] = {
    one.name: one for one in (diversity(), coverage(), precision(), HELD_OUT_FIT, classes(), FIT, DISTANCE, SSIM)
}
#: Those with one, by what stands before the colon.
_WITH_ARGUMENT: dict[str, Callable[[str], Behaviour]] = {
    "class": classes,
    "diversity": lambda folder: diversity(embedded(folder), f"diversity:{folder}"),
    "coverage": lambda folder: coverage(embedded(folder), f"coverage:{folder}"),
    "precision": lambda folder: precision(embedded(folder), f"precision:{folder}"),
    "embedding": embedding,
    "score": scored,
}


def behaviour(name: str) -> Behaviour:
    """Return the behaviour of a name.

    * one of `BEHAVIOURS`;
    * `class:7`: the share of drawn pictures of class 7;
    * `diversity:FOLDER`, `coverage:FOLDER`, `precision:FOLDER`: in the embedding of a vision model instead of pixels;
    * `embedding:FOLDER`: likeness to the picture in the eyes of a vision model;
    * `score:FOLDER` or `score:FOLDER#LABEL`: the mean score of drawn pictures by a model, such as one of aesthetics;
    * `MODULE:FUNCTION` or `FILE.py:FUNCTION`: the mean of what a function says of drawn pictures uint8 [K, C, H, W].

    Raises:
        ConfigError: There is none.

    Example:
        >>> behaviour("diversity").unit, behaviour("class:7").unit, behaviour("numpy:mean").title
        ('bits', 'share of pictures', 'Mean of numpy:mean over drawn pictures')
    """
    if name in BEHAVIOURS:
        return BEHAVIOURS[name]
    kind, _, argument = name.partition(":")
    if kind and argument:
        make = _WITH_ARGUMENT.get(kind)
        return make(argument) if make is not None else of_function(function_of(name), name)
    raise ConfigError(
        f"There is no behaviour {name!r}; there are {', '.join(BEHAVIOURS)}, class:NAME, score:FOLDER, "
        "embedding:FOLDER, diversity:FOLDER, coverage:FOLDER, precision:FOLDER and MODULE:FUNCTION."
    )
