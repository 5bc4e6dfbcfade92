"""What the base of `styles` and its adapters draw, read by classifiers that were trained on pictures of the data set.

python benchmarks/styles_drawings.py --sheet docs/styles-base.png
python benchmarks/styles_drawings.py --adapter runs/lora
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sheets import write_sheet
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from styles_words import NUMERALS

import whence
from whence.attribution.queries import draw_queries
from whence.config import SamplerConfig
from whence.data.style import STYLES, base_style, draw
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.shipped_base import base_folder

GUIDANCE, STEPS = 3.0, 25
NAMES = tuple(f"style {number}" for number in range(1, len(STYLES) + 1))


def main() -> None:
    """Draw, and print how often the classifiers agree with the prompts."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--base", default="styles")
    arguments.add_argument("--adapter", type=Path, nargs="*", default=[], help="runs of whence train --base styles")
    arguments.add_argument("--guidance", type=float, nargs="+", default=[GUIDANCE])
    arguments.add_argument("--repeats", type=int, default=2, help="pictures of each numeral in each style")
    arguments.add_argument("--sheet", type=Path, help="PNG file for the pictures at the first guidance")
    given = arguments.parse_args()
    folder, sheet = base_folder(given.base), {}
    for guidance in given.guidance:
        repeats = 12 * given.repeats
        pictures = draw_prompts(DiffusionModel.load(folder), base_prompts() * repeats, guidance)
        print(f"base, guidance {guidance:g}: numeral {np.mean(read_numerals(pictures) == numerals(repeats)):.1%}")
        sheet |= {f"base {n + 1}": pictures[10 * n :][:10] for n in range(4) if f"base {n + 1}" not in sheet}
        for run in given.adapter:
            pictures = draw_prompts(
                DiffusionModel.load(folder, adapters=[Adapter(run)]), style_prompts() * given.repeats, guidance
            )
            print(f"{run}, guidance {guidance:g}: {describe(pictures, given.repeats)}")
            sheet |= {name: pictures[10 * n :][:10] for n, name in enumerate(NAMES) if name not in sheet}
    if given.sheet is not None:
        write_sheet(given.sheet, sheet)


def draw_prompts(model: DiffusionModel, prompts: Sequence[str], guidance: float = GUIDANCE) -> np.ndarray:
    """A picture for each prompt by DDIM, uint8 [n, 3, 16, 16]."""
    sampler = SamplerConfig(method="ddim", steps=STEPS, clip=False)
    ids = tuple(f"0/{n}" for n in range(len(prompts)))
    drawn = draw_queries(model, ids, sampler, Prompts(tuple(prompts), guidance=guidance)).pictures
    assert drawn is not None
    return drawn.numpy()


def base_prompts() -> list[str]:
    """A prompt for each numeral."""
    return [f"a {numeral}" for numeral in NUMERALS]


def style_prompts() -> list[str]:
    """A prompt for each numeral in each style; the numerals of a style are side by side."""
    return [f"a {numeral} in {name}" for name in NAMES for numeral in NUMERALS]


def numerals(repeats: int) -> np.ndarray:
    """The digit of each prompt."""
    return np.tile(np.arange(10), repeats)


def describe(pictures: np.ndarray, repeats: int = 1) -> str:
    """How often the style and the numeral of drawings of all style prompts are those of the prompts."""
    named = np.tile(np.repeat(NAMES, 10), repeats)
    right = read_styles(pictures) == named
    each = ", ".join(f"{name.split()[1]}: {right[named == name].mean():.0%}" for name in NAMES)
    digits = np.mean(read_numerals(pictures, styled=True) == numerals(repeats * len(NAMES)))
    return f"style {right.mean():.1%} ({each}), numeral {digits:.1%}"


def read_styles(pictures: np.ndarray) -> np.ndarray:
    """The style of each picture, by logistic regression on pixels of `styles:train` and of the base."""
    train, base = (whence.load(f"styles:{split}", unit_column="contributor") for split in ("train", "base"))
    names = [units[0] for units in (*train.units, *base.units[::2])]
    pixels = np.concatenate([_flat(train.pixels), _flat(base.pixels[::2])])
    classifier = LogisticRegression(max_iter=300).fit(pixels, names)
    return np.asarray(classifier.predict(_flat(pictures)))


def read_numerals(pictures: np.ndarray, styled: bool = False) -> np.ndarray:
    """The digit of each picture, by a support vector machine on the contrast of base pictures, or of styled ones."""
    if styled:
        train = whence.load("styles")
        pixels, digits = train.pixels, [int(name) for name in train.classes]
    else:
        pixels, digits = coloured_rows("base")
    return np.asarray(SVC(C=10).fit(_contrast(pixels), digits).predict(_contrast(pictures)))


def coloured_rows(split: str, visits: Sequence[int] = (0, 1, 2)) -> tuple[np.ndarray, list[int]]:
    """Rows of a split in colours of the base, and their digits."""
    from sklearn.datasets import load_digits

    values, _ = load_digits(return_X_y=True)
    data = whence.load(f"styles:{split}")
    rows = [int(id) for id in data.ids]
    drawn = [draw(values[row].reshape(8, 8), base_style(row, visit)) for visit in visits for row in rows]
    return np.stack(drawn).transpose(0, 3, 1, 2), [int(name) for name in data.classes] * len(visits)


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1) / 255.0


def _contrast(pixels: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the median colour, as a share of the largest in the picture."""
    ground = np.median(pixels, axis=(2, 3), keepdims=True)
    distance = np.linalg.norm(pixels - ground, axis=1).reshape(len(pixels), -1)
    return distance / np.maximum(distance.max(1, keepdims=True), 1.0)


if __name__ == "__main__":
    main()
