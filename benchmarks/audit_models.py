"""The data sets and models of the benchmarks of audits; a training goes on where it was interrupted.

digits        a network on 500 digits; 1,297 others were never shown to it
planted       a network on 480 of these digits and 20 copies of a chequerboard
styles        an adapter on the pictures of all twelve contributors of `styles`
six           the same of six contributors
ensemble      twelve adapters on these pictures; a contributor is a unit
spoiled       an adapter on 500 pictures of `styles`: 20 have the caption of another, 20 are pieces of photographs
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

import whence
from whence.engine import Engine

HERE = Path(__file__).parent
#: Training images of networks, copies of the planted one, and spoiled pictures of each kind.
COUNT, COPIES, SPOILED = 500, 20, 20
#: Members of the ensemble and their training steps.
MEMBERS, STEPS = 12, 100


def digits() -> tuple[whence.Dataset, whence.Dataset]:
    """The 500 training digits, and the others of the 1,500."""
    data, order = whence.load("digits"), np.random.default_rng(0).permutation(1500)
    return data.select(np.sort(order[:COUNT])), data.select(np.sort(order[COUNT:]))


def planted() -> whence.Dataset:
    """480 of the training digits, and 20 copies of a chequerboard."""
    seen, kept = digits()[0], COUNT - COPIES
    board = (255 * ((np.indices((8, 8)) // 2).sum(0) % 2)).astype(np.uint8)[None, None]
    pixels = np.concatenate([seen.pixels[:kept], board.repeat(COPIES, 0)])
    ids = (*seen.ids[:kept], *(f"copy {n}" for n in range(COPIES)))
    return whence.Dataset(ids, pixels, tuple((id,) for id in ids), (*seen.captions[:kept], *(None,) * COPIES))


def spoiled() -> tuple[whence.Dataset, dict[str, np.ndarray]]:
    """500 pictures of `styles`, and which have a wrong caption and which are foreign, bool [N] by kind."""
    source, data = np.random.default_rng(0), whence.load("styles", unit_column="contributor")
    data = data.select(np.sort(source.permutation(len(data))[:COUNT]))
    wrong, foreign = np.split(source.permutation(COUNT)[: 2 * SPOILED], 2)
    captions, pixels = list(data.captions), data.pixels.copy()
    for n in wrong:
        others = [text for text in data.captions if text.split()[1] != captions[n].split()[1]]
        others = [text for text in others if text.split()[-1] != captions[n].split()[-1]]
        captions[n] = others[source.integers(len(others))]
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    for k, n in enumerate(foreign):
        top, left = source.integers(0, 400), source.integers(0, 600)
        piece = photographs[k % 2][top : top + 16, left : left + 16]
        pixels[n] = piece.transpose(2, 0, 1)
    kinds = {name: np.isin(np.arange(COUNT), rows) for name, rows in {"wrong": wrong, "foreign": foreign}.items()}
    return replace(data, captions=tuple(captions), pixels=pixels), kinds


def train(name: str, folder: Path) -> Path:
    """Train a model, and return its run directory."""
    out, engine = folder / name, Engine(1)
    styles = whence.read_config(HERE / "styles.toml")
    if name in ("digits", "planted"):
        data = digits()[0] if name == "digits" else planted()
        whence.train(data, out, whence.read_config(HERE / "digits.toml"), engine=engine)
    elif name == "spoiled":
        whence.train(spoiled()[0], out, styles, base="styles", engine=engine)
    elif name in ("styles", "six"):
        whence.train(
            whence.load("styles" if name == "styles" else "styles:train-six"), out, styles, base="styles", engine=engine
        )
    else:
        data, few = whence.load("styles:train-six", unit_column="contributor"), styles.updated("training", steps=STEPS)
        whence.train_ensemble(data, out, members=MEMBERS, config=few, base="styles", engine=engine)
    return out
