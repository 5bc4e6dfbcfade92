"""The built-in data set: scikit-learn's 1,797 handwritten digits of 8x8 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from whence.data.build import Found, Options, build
from whence.data.dataset import Dataset
from whence.data.splits import choose

# With this seed the rows 17 and 230, which the documentation shows, are training examples.
_SPLIT_SEED = 1
_TRAIN = 1500
_HIGHEST = 16


def read_digits(split: str | None, options: Options) -> Dataset:
    """Return the digits of one split: 1,500 in ``train``, 297 in ``test``.

    Ids are rows of scikit-learn's array, captions the digit ("7"). The unit columns ``label`` and
    ``caption`` make each digit a unit ("digit 7").

    Raises:
        DataError: There is no such split or unit column.

    Example:
        >>> digits = read_digits("test", Options())
        >>> digits.size, len(digits), digits.ids[:2]
        ((1, 8, 8), 297, ('2', '11'))
    """
    from sklearn.datasets import load_digits  # takes a second, which other data sets needn't wait for

    values, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    rows = np.sort(choose({"train": order[:_TRAIN], "test": order[_TRAIN:]}, split, "digits"))
    images = np.rint(values[rows] * 255 / _HIGHEST).astype(np.uint8).reshape(-1, 8, 8)
    units = [f"digit {label}" for label in labels[rows]]
    ids = [str(row) for row in rows]
    found = Found(
        ids=ids,
        names=ids,
        sources=[Image.fromarray(image) for image in images],
        captions=[str(label) for label in labels[rows]],
        columns={"label": units, "caption": units},
    )
    return build(found, options)
