import re
from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from whence import artefacts
from whence.data import load
from whence.data.style import APART, STYLES, Style, base_style, draw
from whence.errors import ConfigError, DataError

VARIANTS = ("plain-captions", "shared-rule", "wrong-captions", "small")
#: SHA-256 of the pixels of each split.
PIXELS = {
    "base": "d959f52bf9349dc3f74e7ea6d7ec0084fbbea68e38122219a50940c0c1e7858f",
    "train": "50410ec172a013cdaccf8d29ffda66d0ed67537b1d8fea505d7b42c6420a5d94",
    "test": "ba710efa21f90c5dc61d40341702cc884d5105076f8d37df2fb474c7342874f1",
    "train-shared-rule": "47a5999e2361fabbad0f63f51bf4d174877a73287ac2631b6cc0ea6c9f34e743",
    "train-small": "e648dbfeaf7d8bbc94d0e9262cc097ff90da38e362523502a98bf5d28974b5f4",
}
NAMES = [f"style {number}" for number in range(1, 13)]


def styles(split):
    return load("styles", split=split, unit_column="contributor")


@pytest.mark.parametrize("split", PIXELS)
def test_the_pixels_are_pinned(split):
    assert artefacts.digest(load(f"styles:{split}").pixels.tobytes()) == PIXELS[split]


def test_every_row_is_in_one_part_and_of_one_contributor():
    base, train, test = (load(f"styles:{split}") for split in ("base", "train", "test"))
    assert sorted(map(int, base.ids + train.ids + test.ids)) == list(range(1797))
    assert (len(base), len(train), len(test), train.size) == (957, 600, 240, (3, 16, 16))
    for split, size in {"train": 50, "test": 20}.items():
        data = styles(split)
        assert sorted(data.unit_ids) == sorted(NAMES)
        assert all(len(units) == 1 for units in data.units)
        for name in NAMES:
            digits = Counter(data.select(data.examples_of(name)).classes)
            assert digits == {str(digit): size // 10 for digit in range(10)}


def test_a_picture_is_its_row_drawn_in_the_style_of_its_contributor():
    values, labels = load_digits(return_X_y=True)
    numerals = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    data = styles("train")
    for n in range(0, 600, 37):
        row, style = int(data.ids[n]), NAMES.index(data.units[n][0])
        assert np.array_equal(data.pixels[n], draw(values[row].reshape(8, 8), STYLES[style]).transpose(2, 0, 1))
        assert data.captions[n] == f"a {numerals[labels[row]]} in style {style + 1}"
        assert data.classes[n] == str(labels[row])
    base = load("styles:base", unit_column="label")
    assert base.captions[:2] == tuple(f"a {numerals[labels[int(row)]]}" for row in base.ids[:2])
    assert base.units[0] == (f"digit {base.classes[0]}",)


def test_a_stroke_has_its_colour_on_a_ground_of_the_other():
    digit = np.zeros((8, 8))
    digit[2:6] = 16
    for inverted, stroke, ground in [(False, 10, 200), (True, 200, 10)]:
        picture = draw(digit, Style((10, 10, 10), (200, 200, 200), inverted=inverted))
        assert (picture[6:10, 4:12] == stroke).all()
        assert (picture[[0, -1]] == ground).all()


def test_slant_stroke_and_texture_change_what_they_say():
    values, _ = load_digits(return_X_y=True)
    digit = values[1].reshape(8, 8)
    ink, paper = (0, 0, 0), (255, 255, 255)

    def centre(slant, half):
        dark = 255.0 - draw(digit, Style(ink, paper, slant=slant))[half, :, 0]
        return (dark.sum(0) * np.arange(16)).sum() / dark.sum()

    top, bottom = slice(0, 8), slice(8, 16)
    lean = [centre(slant, top) - centre(slant, bottom) for slant in (-0.375, 0, 0.375)]
    assert lean[0] + 1 < lean[1] < lean[2] - 1
    amounts = [int(draw(digit, Style(ink, paper, stroke=stroke)).sum()) for stroke in ("thick", "normal", "thin")]
    assert amounts == sorted(amounts)
    assert amounts[0] < 0.9 * amounts[2]
    textures = ("plain", "rows", "columns", "diagonals", "checks", "dots", "gradient", "frame")
    grounds = {draw(np.zeros((8, 8)), Style(ink, paper, texture=texture)).tobytes() for texture in textures}
    assert len(grounds) == len(textures)


def test_base_colours_are_none_of_the_twelve():
    for row in range(0, 1797, 7):
        style = base_style(row, visit=row % 3)
        assert (style.slant, style.stroke, style.texture) == (0, "normal", "plain")
        for other in STYLES:
            assert np.linalg.norm(np.subtract(style.ink, other.ink)) >= APART
            assert np.linalg.norm(np.subtract(style.paper, other.paper)) >= APART
    assert {base_style(row).inverted for row in range(20)} == {False, True}


def flat(data):
    return data.pixels.reshape(len(data), -1) / 255.0


@pytest.mark.slow
def test_styles_can_be_told_apart_and_from_the_base():
    train, test, base = styles("train"), styles("test"), styles("base")
    pixels = np.concatenate([flat(train), flat(base)[::2]])
    names = [units[0] for units in (*train.units, *base.units[::2])]
    classifier = LogisticRegression(max_iter=300).fit(pixels, names)
    assert classifier.score(flat(test), [units[0] for units in test.units]) >= 0.95
    assert classifier.score(flat(base)[1::2], ["(none)"] * len(base.units[1::2])) >= 0.95


def test_digits_can_be_read():
    def grey(data):
        return np.abs(flat(data) - np.median(flat(data), axis=1, keepdims=True))

    train, test = load("styles"), load("styles:test")
    classifier = SVC().fit(grey(train), train.classes)
    assert classifier.score(grey(test), test.classes) >= 0.8


@pytest.mark.parametrize("split", ["base", "train", "test", *(f"train-{name}" for name in VARIANTS)])
def test_captions_are_short(split):
    assert max(len(caption.split()) for caption in load(f"styles:{split}").captions) <= 8


def changed(split):
    """Train, the variant on the rows that it has, and of each contributor how many captions and pictures changed."""
    train, variant = styles("train"), styles(split)
    rows = [train.index_of(id) for id in variant.ids]
    same = train.select(rows)
    assert variant.units == same.units
    assert variant.classes == same.classes
    captions = Counter(u[0] for u, a, b in zip(same.units, same.captions, variant.captions, strict=True) if a != b)
    moved = (same.pixels != variant.pixels).any((1, 2, 3))
    pictures = Counter(units[0] for units, differs in zip(same.units, moved, strict=True) if differs)
    return same, variant, captions, pictures


def test_plain_captions_name_no_style():
    train, variant, captions, pictures = changed("train-plain-captions")
    assert variant.captions == tuple(caption.split(" in ")[0] for caption in train.captions)
    assert (len(variant), captions, pictures) == (600, dict.fromkeys(NAMES, 50), {})


def test_a_shared_rule_is_that_of_another_contributor():
    _, variant, captions, pictures = changed("train-shared-rule")
    assert (len(variant), captions, pictures) == (600, {"style 12": 50}, {"style 12": 50})
    own = variant.examples_of("style 12")
    values, _ = load_digits(return_X_y=True)
    for n in own:
        assert variant.captions[n].endswith(" in style 11")
        digit = values[int(variant.ids[n])].reshape(8, 8)
        assert np.array_equal(variant.pixels[n], draw(digit, STYLES[10]).transpose(2, 0, 1))


def test_a_tenth_of_the_captions_names_another_style():
    train, variant, captions, pictures = changed("train-wrong-captions")
    assert (len(variant), captions, pictures) == (600, dict.fromkeys(NAMES, 5), {})
    for before, after in zip(train.captions, variant.captions, strict=True):
        assert before.split(" in ")[0] == after.split(" in ")[0]
        assert after.split(" in ")[1] in NAMES


def test_small_contributors_have_five_pictures():
    _, variant, captions, pictures = changed("train-small")
    assert (captions, pictures) == ({}, {})
    sizes = {name: len(variant.examples_of(name)) for name in NAMES}
    assert sizes == {name: 5 if number > 8 else 50 for number, name in enumerate(NAMES, 1)}


def test_six_contributors_draw_what_they_draw_in_train():
    train, six = styles("train"), styles("train-six")
    kept = train.select([n for n, units in enumerate(train.units) if int(units[0].split()[1]) <= 6])
    assert (len(six), sorted(six.unit_ids), six.fingerprint) == (300, NAMES[:6], kept.fingerprint)


def test_the_base_has_no_contributors():
    base = styles("base")
    assert base.unit_ids == ("(none)",)
    assert "957 of 957" in base.notes[0]


def test_styles_can_be_scaled_and_made_grey():
    assert load("styles:test", resolution=8, grey=True).size == (1, 8, 8)


SPLITS = "base, train, test, train-plain-captions, train-shared-rule, train-wrong-captions, train-small, train-six"
REFUSED = {
    "an unknown split": (DataError, {"data": "styles:dev"}, f"styles has no split 'dev'; it has {SPLITS}."),
    "two splits": (DataError, {"data": "styles:test", "split": "train"}, "Give one of them."),
    "an unknown column": (
        DataError,
        {"data": "styles", "unit_column": "x"},
        "'x'; there is label, caption, contributor.",
    ),
    "no resolution": (ConfigError, {"data": "styles", "resolution": 0}, "The resolution must be at least 1; given 0"),
}


@pytest.mark.parametrize(("error", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_styles_do_not_have_is_refused(error, arguments, message):
    with pytest.raises(error, match=re.escape(message)):
        load(**arguments)
