"""Class proportions: the share of a model's pictures that a classifier says is of a class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from whence.credit.behaviours.declaration import Behaviour, Row, Values
from whence.credit.behaviours.features import pixels
from whence.credit.context import Context
from whence.data import Dataset
from whence.errors import DataError

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Classifier:
    """A support vector machine (RBF kernel) on pixels, fitted to the classes of the training examples.

    Attributes:
        model: scikit-learn's SVC.
        classes: The names of the classes, sorted.
        accuracy: Share of pictures it had not seen and put into the right class; None where that can't be measured.
        tested: On which pictures.
    """

    model: Any
    classes: tuple[str, ...]
    accuracy: float | None
    tested: str

    @classmethod
    def fitted(cls, data: Dataset, held_out: Dataset | None) -> Classifier:
        """Return one fitted to the examples whose class is known.

        Its accuracy is that on held-out pictures of a known class; without any, by cross-validation.

        Raises:
            DataError: There are fewer than two classes.
        """
        from sklearn.svm import SVC

        known = np.flatnonzero([name is not None for name in data.classes])
        labels = np.array([data.classes[n] for n in known], str)
        sizes = Counter(labels.tolist())
        if len(sizes) < 2:
            raise DataError(
                f"Class proportions need training examples of two classes or more; there are {len(sizes)}. "
                "Give the class of each image in a column 'label', or a folder for each class."
            )
        features = pixels(data.pixels[known])
        model = SVC().fit(features, labels)
        accuracy, tested = _accuracy(model, features, labels, held_out)
        return cls(model, tuple(sorted(sizes)), accuracy, tested)

    def proportions(self, pictures: np.ndarray) -> np.ndarray:
        """Return the share of each class among pictures uint8 [K, C, H, W], float64 [classes]."""
        found = self.model.predict(pixels(pictures))
        return np.array([np.mean(found == own) for own in self.classes])

    @property
    def words(self) -> str:
        """How far it can be believed."""
        if self.accuracy is None:
            return "how often the classifier is right is not known"
        return f"the classifier is right on {self.accuracy:.1%} of {self.tested}"


def _accuracy(
    model: Any, features: np.ndarray, labels: np.ndarray, held_out: Dataset | None
) -> tuple[float | None, str]:
    """Accuracy on held-out pictures of a known class, else by cross-validation, else None; and on what."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    sizes = Counter(labels.tolist())
    if held_out is not None:
        known = [n for n, own in enumerate(held_out.classes) if own in sizes]
        if known:
            right = model.predict(pixels(held_out.pixels[known]))
            found = np.mean([held_out.classes[n] == own for n, own in zip(known, right, strict=True)])
            return float(found), f"{len(known):,} held-out pictures"
    folds = min(FOLDS, *sizes.values())
    if folds < 2:
        return None, "nothing"
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    found = cross_val_score(model, features, labels, cv=split).mean()
    return float(found), f"{len(labels):,} training pictures that it was not fitted to"


@lru_cache(maxsize=1)
def classifier(context: Context) -> Classifier:
    """Return the classifier of a context, fitted once."""
    return Classifier.fitted(context.data, context.held_out)


def classes(only: str | None = None) -> Behaviour:
    """Share of drawn pictures of each class, or of one, in [0, 1]; those of all classes add up to 1.

    Args:
        only: The class; None for all.

    Returns:
        A behaviour of a model, with one v for each class.

    Example:
        >>> classes("7").name
        'class:7'
    """

    def chosen(context: Context) -> list[str]:
        known = classifier(context).classes
        if only is not None and only not in known:
            raise DataError(f"No training example is of class {only!r}; the classes are {', '.join(known[:12])}.")
        return list(known) if only is None else [only]

    def make(context: Context) -> Values:
        found = classifier(context)
        places = [found.classes.index(own) for own in chosen(context)]
        return lambda look: found.proportions(look.pictures)[places]

    def rows(context: Context) -> list[Row]:
        words = classifier(context).words
        return [(f"class:{own}", f"Share of drawn pictures of class {own} ({words})", None) for own in chosen(context)]

    name = "classes" if only is None else f"class:{only}"
    title = "Share of drawn pictures of each class" if only is None else f"Share of drawn pictures of class {only}"
    return Behaviour(name, title, "share of pictures", "model", frozenset({"pictures"}), make, rows)
