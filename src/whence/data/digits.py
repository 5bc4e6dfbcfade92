"""The built-in data set: scikit-learn's 1,797 handwritten digits of 8x8 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from whence.data.dataset import Dataset
from whence.data.raw_examples import RawExamples
from whence.data.read_options import ReadOptions
from whence.data.splits import choose

# With this seed the rows 17 and 230, which the documentation shows, are training examples.
_SPLIT_SEED = 1
_TRAIN = 1500
_HIGHEST = 16
#: Share of the images of digit 0 that its first contributor has, and how much larger it is for each next digit.
_SMALLEST, _MORE = 0.1, 0.04


def read_digits(split: str | None, options: ReadOptions) -> Dataset:
    """Return the digits of one split: 1,500 in ``train``, 297 in ``test``.

    Ids are rows of scikit-learn's array; the caption and the class are the digit ("7"). The unit columns ``label`` and
    ``caption`` make each digit a unit ("digit 7"). The unit column ``contributor`` gives the images to twenty made-up
    contributors, to try credit on: two for each digit, of which the first has 10% to 46% of the images.

    Raises:
        DataError: There is no such split or unit column.

    Example:
        >>> digits = read_digits("test", ReadOptions())
        >>> digits.size, len(digits), digits.ids[:2]
        ((1, 8, 8), 297, ('2', '11'))
    """
    from sklearn.datasets import load_digits  # takes a second, which other data sets needn't wait for

    values, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    rows = np.sort(choose({"train": order[:_TRAIN], "test": order[_TRAIN:]}, split, "digits"))
    images = np.rint(values[rows] * 255 / _HIGHEST).astype(np.uint8).reshape(-1, 8, 8)
    names, digits = [f"digit {label}" for label in labels[rows]], tuple(str(label) for label in labels[rows])
    ids = [str(row) for row in rows]
    return RawExamples(
        ids=ids,
        names=ids,
        sources=[Image.fromarray(image) for image in images],
        columns={"label": names, "caption": names, "contributor": _contributors(labels)[rows].tolist()},
        labels=digits,
    ).dataset(options)


def _contributors(labels: np.ndarray) -> np.ndarray:
    """Contributors of all 1,797 digits, two for each digit."""
    contributors, source = np.empty(len(labels), dtype="<U20"), np.random.default_rng(_SPLIT_SEED)
    for digit in np.unique(labels):
        examples = source.permutation(np.flatnonzero(labels == digit))
        count = round((_SMALLEST + _MORE * int(digit)) * len(examples))
        contributors[examples[:count]] = f"contributor {2 * digit:02}"
        contributors[examples[count:]] = f"contributor {2 * digit + 1:02}"
    return contributors
