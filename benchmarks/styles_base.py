"""The base `styles` that comes with Whence: a small Stable Diffusion pipeline for the pictures of the data set.

python benchmarks/styles_base.py --out src/whence/diffusion/shipped/styles

It trains the autoencoder, then the denoiser, on 800 rows of the split `base`, and writes the folder of the pipeline, in
float16, and beside it FOLDER.json: the settings, the seconds, the losses and the hash of every file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import styles_autoencoder
import styles_denoiser
import torch
from autoencoder import deviation, make_model
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from styles_words import Text

import whence
from whence import artefacts
from whence.cli.show import progress
from whence.data.style import SIDE

AUTOENCODER_STEPS, KL, MIXED = 4000, 1e-4, 0.5
STEPS = 4000


def main() -> None:
    """Train, save, and print the recipe."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True, help="the folder of the pipeline")
    arguments.add_argument("--autoencoder", type=Path, help="a folder of styles_autoencoder.py; default: train it")
    arguments.add_argument("--autoencoder-steps", type=int, default=AUTOENCODER_STEPS)
    arguments.add_argument("--steps", type=int, default=STEPS, help="steps of the denoiser")
    given = arguments.parse_args()
    recipe = make(given.out, given.autoencoder_steps, given.steps, given.autoencoder)
    given.out.with_suffix(".json").write_text(json.dumps(recipe, indent=2) + "\n")
    print(json.dumps({name: value for name, value in recipe.items() if name != "files"}, indent=2))


def make(out: Path, autoencoder_steps: int, steps: int, autoencoder: Path | None = None) -> dict[str, Any]:
    """Train a pipeline, write its folder, and return its recipe."""
    torch.set_num_threads(1)
    text = Text.make()
    held, kept = split_rows(text)
    start = time.process_time()
    coder = open_autoencoder(autoencoder) if autoencoder else make_autoencoder(kept.numbers, autoencoder_steps)
    middle = time.process_time()
    torch.manual_seed(0)
    network = styles_denoiser.make_denoiser()
    with progress("training the denoiser") as report:
        styles_denoiser.train(network, coder, kept, steps, report)
    end = time.process_time()
    save(out, coder, network, text)
    steps_of = {"autoencoder": autoencoder_steps, "denoiser": steps}
    seconds = {"autoencoder": round(middle - start), "denoiser": round(end - middle)}
    return describe(out, steps_of, seconds, held, kept)


def describe(
    out: Path,
    steps: dict[str, int],
    seconds: dict[str, int],
    held: styles_denoiser.Rows,
    kept: styles_denoiser.Rows,
) -> dict[str, Any]:
    """The recipe of a pipeline in a folder: settings, seconds of one core, losses, and hashes of its files."""
    coder, network = AutoencoderKL.from_pretrained(out / "vae"), UNet2DConditionModel.from_pretrained(out / "unet")
    return {
        "made_by": "python benchmarks/styles_base.py --out src/whence/diffusion/shipped/styles",
        "data": "styles:base, 800 rows of 957 in colours that are new at each visit",
        "autoencoder": {"steps": steps["autoencoder"], "kl": KL, "mixed": MIXED, "parameters": count(coder)},
        "denoiser": styles_denoiser.record() | {"steps": steps["denoiser"], "parameters": count(network)},
        "text_encoder": {"training": "none, random weights"},
        "processor_seconds": seconds,
        "loss": {name: loss(network, coder, rows) for name, rows in (("held_out", held), ("trained_on", kept))},
        "bytes": sum(file.stat().st_size for file in files(out)),
        "files": {file.relative_to(out).as_posix(): artefacts.file_digest(file) for file in files(out)},
    }


def split_rows(text: Text) -> tuple[styles_denoiser.Rows, styles_denoiser.Rows]:
    """The rows of the base that are held out, and those that are trained on, as the autoencoder splits them."""
    base = whence.load("styles:base")
    order = np.random.default_rng(0).permutation(len(base))
    parts = np.split(order, [styles_autoencoder.DEVELOPMENT])
    held, kept = (
        styles_denoiser.Rows(np.array([int(base.ids[n]) for n in part]), [str(base.captions[n]) for n in part], text)
        for part in parts
    )
    return held, kept


def make_autoencoder(rows: np.ndarray, steps: int) -> AutoencoderKL:
    """The autoencoder, trained on rows of the base, and rounded to float16."""
    torch.manual_seed(0)
    model = make_model((16, 16), 4, SIDE)
    with progress("training the autoencoder") as report:
        styles_autoencoder.train(model, rows, steps, KL, MIXED, report)
    base = whence.load("styles:base")
    model.register_to_config(scaling_factor=1 / deviation(model, base.images(range(len(base)))))
    return model.half().float().eval()


def open_autoencoder(folder: Path) -> AutoencoderKL:
    """An autoencoder that was trained before."""
    return AutoencoderKL.from_pretrained(folder).float().eval()


def save(out: Path, autoencoder: Any, network: Any, text: Text) -> None:
    """Write the folder of the pipeline, without the places that its parts were read from.

    The text encoder is float32, since transformers opens it in the precision that it is written in.
    """
    StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=text.encoder,
        tokenizer=text.tokenizer,
        unet=network.half(),
        scheduler=styles_denoiser.make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out)
    for file in files(out):
        file.chmod(0o644)
        if file.name == "config.json":
            settings = {name: value for name, value in json.loads(file.read_text()).items() if name != "_name_or_path"}
            file.write_text(json.dumps(settings, indent=2) + "\n")


def files(folder: Path) -> list[Path]:
    """The files of a folder, by name."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def count(network: Any) -> int:
    """The number of weights of a network."""
    return sum(weight.numel() for weight in network.parameters())


def loss(network: UNet2DConditionModel, autoencoder: AutoencoderKL, rows: styles_denoiser.Rows) -> float:
    """The mean squared error of the velocity, to four digits."""
    return round(styles_denoiser.mean_loss(network, autoencoder, rows), 4)


if __name__ == "__main__":
    main()
