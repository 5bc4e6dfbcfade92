"""Behaviours: what is shared out among contributors. A new one is one file, and one line here."""

from __future__ import annotations

from collections.abc import Callable

from whence.credit.behaviours.classes import classes
from whence.credit.behaviours.declaration import Behaviour, Context, Values
from whence.credit.behaviours.fit import FIT, HELD_OUT_FIT
from whence.credit.behaviours.likeness import DISTANCE, SSIM, embedding, embedding_features
from whence.credit.behaviours.score import function_behaviour, load_function, score
from whence.credit.behaviours.variety import coverage, diversity, precision
from whence.errors import ConfigError

__all__ = ["BEHAVIOURS", "Behaviour", "Context", "Values", "behaviour", "function_behaviour", "meaning"]

#: Behaviours without an argument, by name.
BEHAVIOURS: dict[str, Behaviour] = {
    one.name: one for one in (diversity(), coverage(), precision(), HELD_OUT_FIT, classes(), FIT, DISTANCE, SSIM)
}
#: Behaviours with an argument, by the word before the colon.
_WITH_ARGUMENT: dict[str, Callable[[str], Behaviour]] = {
    "class": classes,
    "diversity": lambda folder: diversity(embedding_features(folder), f"diversity:{folder}"),
    "coverage": lambda folder: coverage(embedding_features(folder), f"coverage:{folder}"),
    "precision": lambda folder: precision(embedding_features(folder), f"precision:{folder}"),
    "embedding": embedding,
    "score": score,
}


def behaviour(name: str) -> Behaviour:
    """Return the behaviour of a name.

    * one of `BEHAVIOURS`;
    * `class:7`: the share of drawn pictures of class 7;
    * `diversity:FOLDER`, `coverage:FOLDER`, `precision:FOLDER`: in the embedding of a vision model instead of pixels;
    * `embedding:FOLDER`: likeness to the picture, by the embeddings of a vision model;
    * `score:FOLDER` or `score:FOLDER#LABEL`: the mean score of drawn pictures by a model, such as one of aesthetics;
    * `MODULE:FUNCTION` or `FILE.py:FUNCTION`: the mean value of a function of drawn pictures uint8 [K, C, H, W].

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
        return make(argument) if make is not None else function_behaviour(load_function(name), name)
    raise ConfigError(
        f"There is no behaviour {name!r}; there are {', '.join(BEHAVIOURS)}, class:NAME, score:FOLDER, "
        "embedding:FOLDER, diversity:FOLDER, coverage:FOLDER, precision:FOLDER and MODULE:FUNCTION."
    )


def meaning(name: str) -> str:
    """Return what a behaviour means, from the name of one of its rows such as `fit 0/3`; empty where it is not known.

    No function of the user is loaded for that.

    Example:
        >>> meaning("class:7"), meaning("numpy:mean")
        ('How many of the pictures that the model makes are of this class.', '')
    """
    kind = name.split(" ")[0].split(":")[0]
    if kind in BEHAVIOURS:
        return BEHAVIOURS[kind].meaning
    make = _WITH_ARGUMENT.get(kind)
    return make(name.partition(":")[2]).meaning if make is not None else ""
