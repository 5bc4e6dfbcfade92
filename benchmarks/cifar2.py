"""The images of the bank on CIFAR-2, and a small autoencoder that is trained on the others.

python benchmarks/cifar2.py FOLDER --out runs/cifar2

FOLDER has the splits train and validation of CIFAR-2 (the classes automobile and horse of CIFAR-10) in class folders.
OUT/images gets the first 500 training images of each class; of the validation images of each class the first 25, as the
split test, whose images are queries of the bank; and the others, as the split validation. OUT/autoencoder is trained on
all other training images and their mirror images; its error is measured on all validation images. The figures go into
docs/figures/cifar2-autoencoder.json. The bank: see the first lines of cifar2.toml.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import autoencoder
import numpy as np
import torch
from diffusers import AutoencoderKL
from figures import write_figures

import whence
from whence.cli.show import progress

#: Training images and queries of each class in the bank.
EACH, QUERIES = 500, 25
CHANNELS, LATENT, KL, RATE = (24, 48, 64), 4, 1e-4, 3e-3


def main() -> None:
    """Copy, train, save, and write figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder", type=Path, help="the images")
    arguments.add_argument("--out", type=Path, required=True, help="a folder for images and autoencoder")
    arguments.add_argument("--steps", type=int, default=2200)
    given = arguments.parse_args()
    copy_images(given.folder, given.out / "images")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = other_pictures(given.folder, given.out / "images")
    model = autoencoder.make_model(CHANNELS, LATENT, pictures.shape[-1])
    busy = time.process_time()
    with progress("training") as report:
        autoencoder.train(model, lambda _, source: mirror(pictures, source), given.steps, KL, report, RATE)
    busy = time.process_time() - busy
    model.register_to_config(scaling_factor=1 / autoencoder.deviation(model, pictures[:1000]))
    model.save_pretrained(given.out / "autoencoder")
    model = AutoencoderKL.from_pretrained(given.out / "autoencoder")
    held_out = whence.load(str(given.folder), split="validation")
    plain, noisy = autoencoder.show(model, "validation", held_out.images(range(len(held_out))))
    figures = {
        "images": len(pictures),
        "steps": given.steps,
        "minutes": round(busy / 60, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "psnr": round(plain, 1),
        "psnr with noise": round(noisy, 1),
    }
    write_figures("cifar2-autoencoder", figures)


def copy_images(source: Path, out: Path) -> None:
    """Copy the first training images of each class, and all validation images, of which the first are the queries."""
    for folder in sorted(source.glob("train/*/")):
        for file in sorted(folder.iterdir())[:EACH]:
            copy(file, out / "train" / folder.name)
    for folder in sorted(source.glob("validation/*/")):
        for number, file in enumerate(sorted(folder.iterdir())):
            copy(file, out / ("test" if number < QUERIES else "validation") / folder.name)


def copy(file: Path, folder: Path) -> None:
    """Copy a file into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)


def other_pictures(source: Path, bank: Path) -> torch.Tensor:
    """The training images that the bank leaves alone, float32 [n, 3, 32, 32] in [-1, 1]."""
    images, used = whence.load(str(source), split="train"), set(whence.load(str(bank), split="train").ids)
    return images.images([n for n, id in enumerate(images.ids) if id not in used])


def mirror(pictures: torch.Tensor, source: np.random.Generator) -> torch.Tensor:
    """The pictures, each mirrored with probability 1/2."""
    chosen = torch.from_numpy(source.random(len(pictures)) < 0.5)
    return torch.where(chosen[:, None, None, None], pictures.flip(-1), pictures)


if __name__ == "__main__":
    main()
