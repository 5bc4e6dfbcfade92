"""Ensembles of adapters on `styles`: who is named for a picture, and whether a style goes away with its contributor.

python benchmarks/styles_ensemble.py --out runs/styles --members 16 [--split train-small ...]

For each split of the data set an ensemble of adapters is trained on the base `styles` (benchmarks/styles.toml; it goes
on where it was interrupted), 120 pictures are drawn from prompts like "a three in style 7", and measured:

    named first     exact losses name the contributor of the prompt, first, at a family-wise error of 5%
    code words      as many new code words that no picture has as there are contributors, taken for contributors: at
                    least one of them is named; ten times for each picture
    pixels          the contributor of the training picture that is nearest by pixels
    style kept      a classifier that was trained on real styled digits reads the style of the prompt: in the picture,
                    in five placebos, without the contributor, and by the base alone; for both ways to combine members,
                    and for the exported file

Where captions name no style, no prompt asks for one: held-out pictures are named instead, and nothing is drawn.
Intervals are Wilson's, 95%.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FOLDER, share, write_figures
from styles_drawings import GUIDANCE, STEPS, read_styles, style_prompts
from torch import Tensor

import whence
from whence.attribution.queries import read_queries
from whence.cli.show import progress
from whence.config import SamplerConfig
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import draw_pictures
from whence.engine import Engine, one_thread
from whence.ensemble.codebook import placebos
from whence.ensemble.drawing import Combine
from whence.ensemble.gram import indicator
from whence.ensemble.influence import Influence
from whence.ensemble.losses import Losses
from whence.ensemble.members import ALONE
from whence.ensemble.opt_out import opt_out
from whence.ensemble.sampling import Samples
from whence.ensemble.set_losses import loss_increases
from whence.ensemble.trajectories import Trajectory, draw_trajectories
from whence.images import to_pixels
from whence.similarity.attributors import pixel

SPLITS = ("train", "train-plain-captions", "train-shared-rule", "train-wrong-captions", "train-small")
SEED, PLACEBOS, ROUNDS, PLAIN = 0, 5, 10, "train-plain-captions"
SAMPLER = SamplerConfig(method="ddim", steps=STEPS, clip=False)


def main() -> None:
    """Train, draw, measure, and print a table for each split."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--members", type=int, default=16)
    arguments.add_argument("--weight", type=int)
    arguments.add_argument("--split", choices=SPLITS, nargs="+", default=["train"])
    arguments.add_argument("--steps", type=int, help="training steps; default those of benchmarks/styles.toml")
    arguments.add_argument("--guidance", type=float, default=GUIDANCE)
    arguments.add_argument("--draws", type=int, default=100)
    arguments.add_argument("--count", type=int, default=120, help="pictures, from all prompts in turn")
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    for split in given.split:
        figures = measure(given, split)
        (given.out / f"{split}.json").write_text(json.dumps(figures, indent=1))
        known, book = json.loads((FOLDER / "styles.json").read_text("utf-8")), "{weight} of {members}".format(**figures)
        write_figures("styles", known | {book if split == "train" else f"{book}, {split}": figures})
        print(table(split, figures), flush=True)


def measure(given: argparse.Namespace, split: str) -> dict[str, Any]:
    """All figures of a split."""
    settings = whence.read_config(Path(__file__).with_name("styles.toml")).updated("training", steps=given.steps)
    data = whence.load(f"styles:{split}", unit_column="contributor")
    with progress(f"training on {split}") as report:
        engine = Engine(given.workers, report)
        book: dict[str, Any] = {"members": given.members, "weight": given.weight}
        ensemble = whence.train_ensemble(data, given.out / split, config=settings, base="styles", engine=engine, **book)
    book = {"members": given.members, "weight": ensemble.codebook.weight, "guidance": given.guidance}
    figures: dict[str, Any] = {**book, "steps": ensemble.config.training.steps}
    if split == PLAIN:
        return figures | naming(ensemble, *held_out(ensemble, given.count), given)
    prompts = Prompts(tuple(sorted(style_prompts())), guidance=given.guidance)
    drawn: dict[Combine, Samples] = {}
    for seed, combine in enumerate(("predictions", "weights")):
        with progress(f"drawing by {combine}") as report:
            options: dict[str, Any] = {"sampler": SAMPLER, "prompts": prompts, "combine": combine}
            engine = Engine(given.workers, report)
            drawn[combine] = whence.sample(ensemble, count=given.count, seed=seed, engine=engine, **options)
    own = styles_of(drawn["predictions"])
    pictures = drawn["predictions"]
    queries = read_queries(ensemble, f"{pictures.seed}/0-{len(pictures.names) - 1}")
    figures |= naming(ensemble, queries, pictures.pictures, own, given)
    for combine, samples in drawn.items():
        figures[combine] = kept(ensemble, samples, styles_of(samples), given.workers)
    figures["exported"] = kept_by_export(ensemble, drawn["weights"], styles_of(drawn["weights"]))
    return figures


def styles_of(samples: Samples) -> list[str]:
    """The contributor of each picture: that of its prompt."""
    return [caption.partition(" in ")[2] for caption in samples.captions]


def held_out(ensemble: whence.Ensemble, count: int) -> tuple[Examples, Tensor, list[str]]:
    """Held-out pictures with the captions of the training images, which name no style, and their contributors."""
    held = whence.load("styles:test", unit_column="contributor")
    held = held.select(np.random.default_rng(SEED).choice(len(held), count, replace=False))
    plain = replace(held, captions=tuple(caption.partition(" in ")[0] for caption in held.captions))
    own = [units[0] for units in held.units]
    return ensemble.encoders.encode_queries(plain), Examples.of(held).x(np.arange(count)), own


def naming(
    ensemble: whence.Ensemble, queries: Examples, pictures: Tensor, own: Sequence[str], given: argparse.Namespace
) -> dict[str, Any]:
    """How often the contributor is named, and how often a code word of nobody."""
    with progress("exact losses") as report:
        measured = whence.losses(ensemble, queries, draws=given.draws, engine=Engine(given.workers, report))
    readings = [measured.influence_on(name) for name in queries.ids]
    first = [reading.influential[:1] == [style] for reading, style in zip(readings, own, strict=True)]
    somebody = [bool(reading.influential) for reading in readings]
    nearest = pixel(pictures, queries.ids, ensemble.data).by_unit()
    alike = [nearest.top(name, 1)[0][0] == style for name, style in zip(queries.ids, own, strict=True)]
    return {
        "named first": share(first),
        "named at all": share([style in r.influential for r, style in zip(readings, own, strict=True)]),
        "largest effect": share([r.units[r.order[0]] == style for r, style in zip(readings, own, strict=True)]),
        "somebody named": share(somebody),
        "code words": share([bool(fake.influential) for fake in fake_readings(ensemble, measured)]),
        "pixels": share(alike),
    }


def fake_readings(ensemble: whence.Ensemble, measured: Losses) -> list[Influence]:
    """New code words of nobody taken for contributors, others for each picture, against the rest of them."""
    book, found = ensemble.codebook, []
    left = book.members - book.weight
    words = list(placebos(book, 1, left, seed=2024))
    source = np.random.default_rng(SEED)
    for q, name in ROUNDS * list(enumerate(measured.queries)):
        order = source.permutation(len(words))
        sets = indicator([words[n] for n in order], book.members)
        effects = loss_increases(measured.sets.at(q), sets)[0]
        count = len(book.units)
        units = tuple(f"word {k}" for k in range(count))
        found.append(Influence(name, units, effects[:count], effects[count:]))
    return found


@dataclass(frozen=True)
class Kind:
    """Pictures of one kind: the members that draw each."""

    name: str
    sets: list[tuple[int, ...]]


def kept(ensemble: whence.Ensemble, samples: Samples, own: Sequence[str], workers: int) -> dict[str, Any]:
    """How often the style of the picture is read in it, in placebos, without the contributor, and by the base alone."""
    book = ensemble.codebook
    left = book.members - book.weight
    others = list(islice(placebos(book, 1, left, seed=7), PLACEBOS * len(own)))
    kinds = [Kind("without", [tuple(book.survivors([style])) if style in book.units else (ALONE,) for style in own])]
    kinds += [Kind(f"placebo {k}", others[k * len(own) :][: len(own)]) for k in range(PLACEBOS)]
    kinds.append(Kind("base", [(ALONE,)] * len(own)))
    drawing, pictures = samples.drawing, {"factual": samples.pictures}
    for kind in kinds:
        trajectories = [Trajectory(samples.seed, n, members) for n, members in enumerate(kind.sets)]
        with tempfile.TemporaryDirectory() as scratch, progress(f"{drawing.combine}: {kind.name}") as report:
            engine = Engine(workers, report)
            pictures[kind.name] = draw_trajectories(ensemble, trajectories, drawing, Path(scratch), engine)["pictures"]
    read = {name: read_styles(to_pixels(drawn)) == np.array(own) for name, drawn in pictures.items()}
    controls = np.concatenate([read[f"placebo {k}"] for k in range(PLACEBOS)])
    rates = {name: share(read[name]) for name in ("factual", "without", "base")}
    return rates | {"placebos": share(controls)}


def kept_by_export(ensemble: whence.Ensemble, samples: Samples, own: Sequence[str]) -> dict[str, Any]:
    """The same for the exported file without each contributor, drawn by the base with it as by any adapter."""
    read: list[bool] = []
    drawing, names, folder = samples.drawing, np.array(samples.names), ensemble.base.folder
    for unit in dict.fromkeys(style for style in own if style in ensemble.codebook.units):
        rows = np.flatnonzero(np.array(own) == unit)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "opt-out.safetensors"
            opt_out(ensemble, [unit]).write(file)
            model = DiffusionModel.load(folder, adapters=[Adapter(file)])
            conditions, guidance = Encoders.of(model).prompted(drawing.prompts, names[rows])
            x = draw_pictures(model, drawing.sampler, names[rows], conditions=conditions, guidance=guidance)
            read += (read_styles(model.codec.decode(x)) == unit).tolist()
    return {"without": share(read)}


def table(split: str, figures: dict[str, Any]) -> str:
    """The figures as rows of Markdown."""

    def text(value: dict[str, float]) -> str:
        return f"{value['value']:.1%} ({value['low']:.1%} to {value['high']:.1%})"

    about = f"{split}, {figures['members']} members of weight {figures['weight']}, guidance {figures['guidance']:g}"
    lines = [f"| {about} | share |", "|---|---|"]
    names = ("named first", "named at all", "largest effect", "somebody named", "code words", "pixels")
    lines += [f"| {name} | {text(figures[name])} |" for name in names]
    for combine in ("predictions", "weights", "exported"):
        kinds = figures.get(combine, {})
        lines += [f"| style kept, {combine}: {name} | {text(value)} |" for name, value in kinds.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with one_thread():
        main()
