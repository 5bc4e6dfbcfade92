import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from whence.data import load
from whence.errors import ConfigError, DataError

TRAIN = "cbbf72a7ec9cb5c11246a7feca7df8e07a6eabbae7aa0595582f9a20c4691b01"
TEST = "f788eccfaf0c6aa584c4de979c33bb0ffb6282887b94f26df75243822a2a6b63"


def test_the_splits_are_pinned_and_cover_the_data():
    train, test = load("digits"), load("digits", split="test")
    assert (train.fingerprint, test.fingerprint) == (TRAIN, TEST)
    assert (len(train), len(test), train.size) == (1500, 297, (1, 8, 8))
    assert sorted(map(int, train.ids + test.ids)) == list(range(1797))
    assert {"17", "230"} <= set(train.ids)
    assert list(train.ids) == sorted(train.ids, key=int)


def test_pixels_captions_and_units_are_those_of_the_row():
    values, labels = load_digits(return_X_y=True)
    train = load("digits:train")
    for example in ("17", "230", train.ids[0], train.ids[-1]):
        n = train.index_of(example)
        expected = np.rint(values[int(example)].reshape(8, 8) * 255 / 16)
        assert np.array_equal(train.pixels[n, 0], expected)
        assert train.captions[n] == train.classes[n] == str(labels[int(example)])
        assert train.units[n] == (example,)


@pytest.mark.parametrize("column", ["label", "caption"])
def test_a_digit_can_be_a_unit(column):
    test = load("digits:test", unit_column=column)
    assert sorted(test.unit_ids) == [f"digit {digit}" for digit in range(10)]
    assert all(own == (f"digit {caption}",) for own, caption in zip(test.units, test.captions, strict=True))


def test_digits_can_be_scaled():
    assert load("digits:test", resolution=16, grey=True).size == (1, 16, 16)


REFUSED = {
    "an unknown split": (DataError, {"data": "digits:dev"}, "digits has no split 'dev'; it has train, test."),
    "two splits": (DataError, {"data": "digits:test", "split": "train"}, "Give one of them."),
    "an unknown column": (
        DataError,
        {"data": "digits", "unit_column": "x"},
        "'x'; there is label, caption, contributor.",
    ),
    "no resolution": (ConfigError, {"data": "digits", "resolution": 0}, "resolution must be at least 1; given 0"),
}


@pytest.mark.parametrize(("error", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_digits_do_not_have_is_refused(error, arguments, message):
    with pytest.raises(error, match=re.escape(message)):
        load(**arguments)


def test_contributors_are_two_for_each_digit_and_unequal():
    digits, labels = load("digits", unit_column="contributor"), load("digits", unit_column="label")
    assert len(digits.unit_ids) == 20
    for digit in range(10):
        sizes = [len(digits.examples_of(f"contributor {2 * digit + k:02}")) for k in range(2)]
        assert sum(sizes) == len(labels.examples_of(f"digit {digit}"))
        assert 0 < sizes[0] < sizes[1]
