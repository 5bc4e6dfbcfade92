"""The built-in data set in colour: scikit-learn's digits, drawn by twelve contributors, each by a rule of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from whence.data.dataset import Dataset
from whence.data.raw_examples import RawExamples
from whence.data.read_options import ReadOptions
from whence.data.splits import choose
from whence.data.style import STYLES, Style, base_style, draw

#: Pictures of each contributor in ``train`` and in ``test``, and of a small contributor in ``train-small``.
TRAIN, TEST, FEW = 50, 20, 5
#: The contributors that are small in ``train-small``. In ``train-shared-rule`` the first draws by the second's rule.
_SMALL, _SHARED = (8, 9, 10, 11), (11, 10)
_SEED = 1
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class _Picture:
    """A row of scikit-learn's array and what is made of it; contributor and named style are None in the base."""

    row: int
    style: Style
    contributor: int | None = None
    named: int | None = None


def read_styles(split: str | None, options: ReadOptions) -> Dataset:
    """Return the pictures of one split. Ids are rows of scikit-learn's array, and classes are digits ("3").

    Every row is in one of three parts. ``train`` has 50 pictures of each of twelve contributors, whose captions are
    like "a three in style 7". ``test`` has 20 pictures of each that are held out. ``base`` has the other 957 rows, in
    colours that are none of the twelve ("a three"). Five more splits change ``train``:

    * ``train-plain-captions``: No caption names a style.
    * ``train-shared-rule``: ``style 12`` draws by the rule of ``style 11``, and its captions name style 11.
    * ``train-wrong-captions``: A tenth of the captions of each contributor name another style.
    * ``train-small``: The contributors ``style 9`` to ``style 12`` have five pictures each.
    * ``train-six``: The contributors ``style 1`` to ``style 6`` alone, for `whence demo`.

    The unit column ``contributor`` names the contributor ("style 7"), ``label`` the digit ("digit 3").

    Raises:
        DataError: There is no such split or unit column.

    Example:
        >>> styles = read_styles("test", ReadOptions(unit_column="contributor"))
        >>> styles.size, len(styles), styles.units[0], styles.captions[0]
        ((3, 16, 16), 240, ('style 6',), 'a one in style 6')
    """
    from sklearn.datasets import load_digits  # takes a second, which other data sets needn't wait for

    values, labels = load_digits(return_X_y=True)
    make = choose(_SPLITS, split, "styles")
    pictures = sorted(make(_order(labels).tolist()), key=lambda picture: picture.row)
    digits = [int(labels[picture.row]) for picture in pictures]
    captions = [
        f"a {_NUMERALS[digit]}" + ("" if picture.named is None else f" in {_name(picture.named)}")
        for digit, picture in zip(digits, pictures, strict=True)
    ]
    ids = [str(picture.row) for picture in pictures]
    data = RawExamples(
        ids=ids,
        names=ids,
        sources=[Image.fromarray(draw(values[one.row].reshape(8, 8), one.style)) for one in pictures],
        columns={
            "label": [f"digit {digit}" for digit in digits],
            "caption": captions,
            "contributor": [None if one.contributor is None else _name(one.contributor) for one in pictures],
        },
    ).dataset(options)
    return data.with_fields(classes=tuple(str(digit) for digit in digits))


def _order(labels: np.ndarray) -> np.ndarray:
    """All rows at random, but with every digit once in each ten, as long as there are ten."""
    source, place = np.random.default_rng(_SEED), np.empty(len(labels))
    for digit in np.unique(labels):
        rows = np.flatnonzero(labels == digit)
        place[rows] = source.permutation(len(rows)) + source.random(len(rows))
    return np.argsort(place)


def _name(number: int) -> str:
    return f"style {number + 1}"


def _assign(rows: list[int], start: int, each: int) -> list[_Picture]:
    """The pictures of all contributors, `each` of them one after another."""
    order = range(len(STYLES) * each)
    return [_Picture(rows[start + n], STYLES[n // each], n // each, n // each) for n in order]


def _assign_train(rows: list[int]) -> list[_Picture]:
    return _assign(rows, 0, TRAIN)


def _assign_test(rows: list[int]) -> list[_Picture]:
    return _assign(rows, len(STYLES) * TRAIN, TEST)


def _assign_base(rows: list[int]) -> list[_Picture]:
    return [_Picture(row, base_style(row)) for row in rows[len(STYLES) * (TRAIN + TEST) :]]


def _name_no_style(rows: list[int]) -> list[_Picture]:
    return [replace(picture, named=None) for picture in _assign_train(rows)]


def _share_rule(rows: list[int]) -> list[_Picture]:
    last, rule = _SHARED
    return [
        replace(one, style=STYLES[rule], named=rule) if one.contributor == last else one for one in _assign_train(rows)
    ]


def _name_wrong_styles(rows: list[int]) -> list[_Picture]:
    source, pictures = np.random.default_rng(_SEED), _assign_train(rows)
    for number in range(len(STYLES)):
        for n in number * TRAIN + source.permutation(TRAIN)[: TRAIN // 10]:
            pictures[n] = replace(pictures[n], named=(number + int(source.integers(1, len(STYLES)))) % len(STYLES))
    return pictures


def _shrink(rows: list[int]) -> list[_Picture]:
    return [one for n, one in enumerate(_assign_train(rows)) if one.contributor not in _SMALL or n % TRAIN < FEW]


def _take_six(rows: list[int]) -> list[_Picture]:
    return _assign_train(rows)[: 6 * TRAIN]


_SPLITS: dict[str, Callable[[list[int]], list[_Picture]]] = {
    "base": _assign_base,
    "train": _assign_train,
    "test": _assign_test,
    "train-plain-captions": _name_no_style,
    "train-shared-rule": _share_rule,
    "train-wrong-captions": _name_wrong_styles,
    "train-small": _shrink,
    "train-six": _take_six,
}
