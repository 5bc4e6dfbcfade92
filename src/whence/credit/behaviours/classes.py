"""Class proportions: the share of a model's pictures that a classifier puts into a class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from whence import artefacts
from whence.credit.behaviours.declaration import Behaviour, Context, Row, Values
from whence.credit.behaviours.likeness import pixels
from whence.data import Dataset
from whence.errors import DataError

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Classifier:
    """A support vector machine (RBF kernel) on pixels, fitted to the classes of the training examples.

    Attributes:
        model: scikit-learn's SVC.
        classes: The names of the classes, sorted.
        accuracy: Share of unseen pictures that it puts into the right class; None where that can't be measured.
        tested: The pictures that the accuracy was measured on, in words.
    """

    model: Any
    classes: tuple[str, ...]
    accuracy: float | None
    tested: str

    @classmethod
    def fit(cls, data: Dataset, held_out: Dataset | None) -> Classifier:
        """Return a classifier fitted to the examples whose class is known.

        Its accuracy is measured on held-out pictures of a known class; without any, by cross-validation.

        Raises:
            DataError: There are fewer than two classes.
        """
        from sklearn.svm import SVC

        rows = np.flatnonzero([name is not None for name in data.classes])
        labels = np.array([data.classes[n] for n in rows], str)
        sizes = Counter(labels.tolist())
        if len(sizes) < 2:
            raise DataError(
                f"Class proportions need training examples of two classes or more; there are {len(sizes)}. "
                "Give the class of each image in a column 'label', or a folder for each class."
            )
        features = pixels(data.pixels[rows])
        model = SVC().fit(features, labels)
        accuracy, tested = _accuracy(model, features, labels, held_out)
        return cls(model, tuple(sorted(sizes)), accuracy, tested)

    def proportions(self, pictures: np.ndarray) -> np.ndarray:
        """Return the share of each class among pictures uint8 [K, C, H, W], float64 [classes]."""
        predictions = self.model.predict(pixels(pictures))
        return np.array([np.mean(predictions == name) for name in self.classes])

    @property
    def reliability(self) -> str:
        """How often it is right, in words."""
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
        known = [n for n, name in enumerate(held_out.classes) if name in sizes]
        if known:
            predictions = model.predict(pixels(held_out.pixels[known]))
            right = [held_out.classes[n] == name for n, name in zip(known, predictions, strict=True)]
            return float(np.mean(right)), f"{len(known):,} held-out pictures"
    folds = min(FOLDS, *sizes.values())
    if folds < 2:
        return None, "nothing"
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    accuracy = cross_val_score(model, features, labels, cv=split).mean()
    return float(accuracy), f"{len(labels):,} training pictures that it was not fitted to"


#: The classifier that was fitted last, by a digest of the pictures and classes.
_FITTED: dict[str, Classifier] = {}


def classifier(context: Context) -> Classifier:
    """Return the classifier of a context, fitted once for the same pictures."""
    pictures = [context.data, *([] if context.plan.held_out is None else [context.plan.held_out])]
    key = artefacts.digest([[list(images.fingerprints), images.classes] for images in pictures])
    if key not in _FITTED:
        _FITTED.clear()
        _FITTED[key] = Classifier.fit(context.data, context.plan.held_out)
    return _FITTED[key]


def classes(only: str | None = None) -> Behaviour:
    """Return the share of drawn pictures of each class, or of `only` one, in [0, 1]; those of all classes add up to 1.

    Example:
        >>> classes("7").name
        'class:7'
    """

    def names(context: Context) -> list[str]:
        known = classifier(context).classes
        if only is not None and only not in known:
            raise DataError(f"No training example is of class {only!r}; the classes are {', '.join(known[:12])}.")
        return list(known) if only is None else [only]

    def make(context: Context) -> Values:
        fitted = classifier(context)
        columns = [fitted.classes.index(name) for name in names(context)]
        return lambda measurement: fitted.proportions(measurement.pictures)[columns]

    def rows(context: Context) -> list[Row]:
        note = classifier(context).reliability
        return [(f"class:{own}", f"Share of drawn pictures of class {own} ({note})", None) for own in names(context)]

    name = "classes" if only is None else f"class:{only}"
    title = "Share of drawn pictures of each class" if only is None else f"Share of drawn pictures of class {only}"
    which = "each" if only is None else "this"
    meaning = f"How many of the pictures that the model makes are of {which} class."
    return Behaviour(name, title, "share of pictures", "model", frozenset({"pictures"}), make, rows, meaning)
