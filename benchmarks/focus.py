"""Do a region and a concept name the right contributor? On `styles`, with adapters that learned twelve styles.

* *Regions*: collages whose left half is a picture of one contributor and whose right half is one of another, with the
  caption of no style. The mask of each half should name the contributor of that half first, by the sum of the scores.
  One adapter was trained on such captions, and another on captions that name the style. The same by exact losses of an
  ensemble of 16 adapters, of which 12 see each contributor, trained on captions of no style: who is first, who is
  above the contributor of the other half, and who is named at a family-wise error of 5%.
* *Concepts*: pictures of the base, in no contributor's style, with the prompt "a three in style 7". The pair with the
  prompt "a three" should name contributor 7 first; beside it is the plain query.

The pictures are of splits that the training of the adapters never saw. Shares with 95% intervals (Wilson); by chance
one in twelve. About half an hour on two cores. Writes docs/figures/focus.json.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import share, write_figures

import whence
from whence.attribution.target import Target
from whence.cli.show import progress
from whence.config import read_config
from whence.diffusion.encoding import Encoders
from whence.diffusion.focus import Focus, element_mask

RUNS, CONFIG = Path("runs/focus"), Path(__file__).with_name("styles.toml")
COUNT, DRAWS, METHODS = 48, 32, ("tangent", "tangent-squared", "trak", "gradient-dot")
MEMBERS, WEIGHT, STEPS, EXACT_DRAWS = 16, 12, 500, 50
ABOVE, STYLED = "regions, above the other half", "regions, prompts unlike the captions"
#: The training images of each adapter: captions that name the style, and captions that don't.
SPLITS = {"styled": "styles:train", "plain": "styles:train-plain-captions"}
Hits = dict[str, list[bool]]


def main() -> None:
    """Train the adapters, measure and write."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    torch.set_num_threads(1)
    for name, split in SPLITS.items():
        with progress(f"adapter of {split}") as report:
            engine = whence.Engine(report=report)
            whence.train(training(name), RUNS / name / "adapter", read_config(CONFIG), base="styles", engine=engine)
    collages = Collages.of(whence.load("styles:test", unit_column="contributor"))
    hits = {"regions": regions("plain", collages), STYLED: regions("styled", collages)}
    for figure, found in exact_regions(collages).items():
        hits.setdefault(figure, {}).update(found)
    hits |= {"concepts": concepts(), "plain": concepts(plain=True)}
    figures = {figure: {name: share(own) for name, own in found.items()} for figure, found in hits.items()}
    print(figures)
    write_figures("focus", figures)


def training(name: str) -> whence.Dataset:
    """The images that an adapter was trained on."""
    return whence.load(SPLITS[name], unit_column="contributor")


@dataclass(frozen=True)
class Collages:
    """Pictures whose two halves are by different contributors.

    Attributes:
        pictures: The collages, with captions of no style.
        masks: The mask of each half, [2, H, W].
        own: The contributor of the left half of each, then of the right half of each.
        other: The contributors of the halves that are not in the mask, in the same order.
    """

    pictures: whence.Dataset
    masks: torch.Tensor
    own: list[str]
    other: list[str]

    @classmethod
    def of(cls, test: whence.Dataset) -> Collages:
        """Collages of the pictures of a split."""
        left, right = pairs(test)
        pixels = test.pixels[left].copy()
        half = pixels.shape[-1] // 2
        pixels[..., half:] = test.pixels[right][..., half:]
        masks = torch.zeros(2, *pixels.shape[-2:])
        masks[0, :, :half], masks[1, :, half:] = 1.0, 1.0
        captions = tuple(neutral(test.captions[n]) for n in left)
        own, other = ([test.units[n][0] for n in (*a, *b)] for a, b in ((left, right), (right, left)))
        return cls(replace_rows(test, left, pixels, captions), masks, own, other)

    def halves(self, encoders: Encoders) -> list[whence.Examples]:
        """The left halves and the right halves, as queries."""
        queries = encoders.encode_queries(self.pictures)
        regions = [element_mask(mask[None], queries.size).expand(len(queries), -1, -1) for mask in self.masks]
        return [replace(queries, focus=Focus(region)) for region in regions]


def regions(adapter: str, collages: Collages) -> Hits:
    """How often the mask of each half of a collage names its contributor first."""
    target, data = Target.open(RUNS / adapter / "adapter"), training(adapter)
    sums: dict[str, list[whence.Scores]] = {name: [] for name in METHODS}
    for half in collages.halves(target.encoders):
        add(sums, target, data, half, RUNS / adapter / "features")
    return firsts(sums, collages.own)


def exact_regions(collages: Collages) -> dict[str, Hits]:
    """The same by the exact losses of an ensemble of adapters without each contributor, and who is named by a test."""
    config = read_config(CONFIG).updated("training", steps=STEPS)
    with progress("ensemble") as report:
        options: dict[str, Any] = {"members": MEMBERS, "weight": WEIGHT, "base": "styles", "config": config}
        engine = whence.Engine(report=report)
        ensemble = whence.train_ensemble(training("plain"), RUNS / "ensemble", engine=engine, **options)
    measured = []
    for half in collages.halves(ensemble.encoders):
        with progress("exact losses") as report:
            measured.append(whence.losses(ensemble, half, draws=EXACT_DRAWS, engine=whence.Engine(report=report)))
    scores = {"ensemble": [one.scores() for one in measured]}
    halves = list(zip(rows_of(scores["ensemble"]), collages.own, collages.other, strict=True))
    named = [one.influence_on(name).influential[:1] for one in measured for name in one.queries]
    pairs = list(zip(named, collages.own, strict=True))
    return {
        "regions": firsts(scores, collages.own),
        ABOVE: {"ensemble": [row[own] > row[other] for row, own, other in halves]},
        "regions, named": {"ensemble": [units == [own] for units, own in pairs]},
        "regions, another named": {"ensemble": [bool(units) and units != [own] for units, own in pairs]},
    }


def concepts(plain: bool = False) -> Hits:
    """How often the pair of prompts with and without a style names its contributor first."""
    target, base = Target.open(RUNS / "styled" / "adapter"), whence.load("styles:base").select(range(COUNT))
    styles = [f"style {1 + n % 12}" for n in range(COUNT)]
    texts = tuple(neutral(text) for text in base.captions)
    named = base.with_fields(captions=tuple(f"{text} in {style}" for text, style in zip(texts, styles, strict=True)))
    queries = target.encoders.encode_queries(named)
    if not plain:
        other = target.encoders.encode_queries(base.with_fields(captions=texts))
        queries = replace(queries, focus=Focus(without=other.conditions, texts=texts))
    sums: dict[str, list[whence.Scores]] = {name: [] for name in METHODS}
    add(sums, target, training("styled"), queries, RUNS / "styled" / "features")
    return firsts(sums, styles)


def pairs(test: whence.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of the left and the right halves, of different contributors."""
    order = np.random.default_rng(0).permutation(len(test))
    couples = [(a, b) for a, b in zip(order[::2], order[1::2], strict=True) if test.units[a] != test.units[b]]
    left, right = np.array(couples[:COUNT]).T
    return left, right


def replace_rows(test: whence.Dataset, rows: np.ndarray, pixels: np.ndarray, captions: tuple[str, ...]) -> Any:
    """A data set of new pictures with the ids of some rows."""
    ids = tuple(test.ids[n] for n in rows)
    return whence.Dataset(ids, pixels, tuple((name,) for name in ids), captions)


def neutral(caption: str | None) -> str:
    """A caption without its style."""
    return str(caption).split(" in ")[0]


def add(
    sums: dict[str, list[whence.Scores]], target: Target, data: whence.Dataset, queries: whence.Examples, store: Path
) -> None:
    """Add the scores of queries by each method, summed over the images of each contributor."""
    config = whence.AttributionConfig(draws=DRAWS)
    with progress(f"{len(queries)} queries") as report:
        engine = whence.Engine(report=report)
        found = whence.attribute(target, data, queries, METHODS, config=config, store=store, engine=engine)
    for name, scores in found.items():
        sums[name].append(scores.by_unit())


def rows_of(found: list[whence.Scores]) -> list[dict[str, float]]:
    """The sum of each contributor, for each query of some scores."""
    return [dict(zip(scores.examples, row, strict=True)) for scores in found for row in scores.scores.tolist()]


def firsts(sums: dict[str, list[whence.Scores]], right: list[str]) -> dict[str, list[bool]]:
    """Whether the right contributor has the largest sum, by method and query."""
    return {
        name: [max(row, key=row.__getitem__) == unit for row, unit in zip(rows_of(found), right, strict=True)]
        for name, found in sums.items()
    }


if __name__ == "__main__":
    main()
