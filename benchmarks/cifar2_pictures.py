"""Counterfactual pictures of CIFAR-2: python benchmarks/cifar2_pictures.py BANK SCORES --store STORE.

Pictures from the same noise and prompt, by models trained anew:

    above    a column for each of ten drawn pictures of the bank: by the model of all images, by another training
             seed, and without the half of the images that three subsets leave out
    below    the drawn pictures of `whence evaluate deletion SCORES --bank BANK --store STORE`: without the 5% that the
             scores name, without as many random images of the same class, and the training images named first

Writes docs/cifar2-counterfactuals.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sheets import write_sheet

import whence
from whence.evaluation.deletion import Deletion, read_deletion

COLUMNS, SUBSETS = 10, 3


def main() -> None:
    """Write the picture."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("bank", type=Path)
    given.add_argument("scores", type=Path)
    given.add_argument("--store", type=Path, required=True)
    given.add_argument("--out", type=Path, default=Path("docs/cifar2-counterfactuals.png"))
    asked = given.parse_args()
    bank, scores = whence.Bank.open(asked.bank), whence.Scores.read(asked.scores)
    rows = {**halves(bank), **removed(bank, scores, read_deletion(bank, scores, store=asked.store))}
    write_sheet(asked.out, rows)
    print(asked.out)


def halves(bank: whence.Bank) -> dict[str, np.ndarray]:
    """Ten drawn pictures by models of all images and of half of them, [n, 3, H, W] for each row."""
    of_all, of_half = bank.reference.pictures[0], bank.pools["test"].pictures[:, 0]
    names = ["all images", "all images, another seed"]
    rows = {name: of_all[seed, :COLUMNS] for seed, name in enumerate(names)}
    return rows | {f"without half of the images, {k + 1}": of_half[k, :COLUMNS] for k in range(SUBSETS)}


def removed(bank: whence.Bank, scores: whence.Scores, deletion: Deletion) -> dict[str, np.ndarray]:
    """The drawn pictures without what was named for them, without random images, and the images named first."""
    rows, images = {}, bank.data
    place = {name: n for n, name in enumerate(images.ids)}
    for number, query in enumerate(deletion.drawn_queries(bank), start=1):
        name = bank.queries[query]
        first = [place[example] for example, *_ in scores.top(name, COLUMNS - 3)]
        pictures = [bank.queries_data.pixels[query], *deletion.pictures[:, number - 1, 0], *images.pixels[first]]
        label = f"{number}: all; without named;\nwithout random; named"
        rows[label] = np.stack(pictures)
    return rows


if __name__ == "__main__":
    main()
