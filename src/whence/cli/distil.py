"""The command `whence distil`, and the option `--ranker` of `whence attribute`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.data import load_data
from whence.cli.options import CAPTION_COLUMN, DATA, GREY, RESOLUTION, SPLIT, UNIT_COLUMN
from whence.cli.show import say

RANKER = Annotated[
    Path | None,
    typer.Option(help="A ranker of `whence distil`, in place of --method: no gradients, milliseconds for a picture."),
]


def ranked_methods(method: list[str], ranker: Path | None) -> list[str]:
    """Return the methods of `whence attribute`: those of --method, or the ranker alone."""
    return method if ranker is None else [f"ranker:{ranker}"]


def distil(
    scores: Annotated[
        Path, typer.Argument(help="The teacher: OUT of `whence attribute`, or the scores of one method in it.")
    ],
    data: DATA,
    out: Annotated[Path, typer.Option(help="Folder for the ranker.")],
    features: Annotated[
        str,
        typer.Option(help="What of pictures is compared: pixels, or embedding:FOLDER of a vision model (CLIP, DINO)."),
    ] = "pixels",
    dimensions: Annotated[int, typer.Option(min=1, help="Numbers of an embedding, at most.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of the queries that are held out.")] = 0,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
) -> None:
    """Distil the scores of any method into a ranker, which ranks the training images for a picture in milliseconds.

    The teacher's scores of some hundred pictures are enough, such as --queries sample:500. A fifth of them are held
    out: on these the ranker is chosen, and its agreement with the teacher is told. It says what the teacher would say.

    Example: `whence distil scores/ digits --out ranker/`, then `whence attribute runs/single digits --queries sample:16
    --ranker ranker/ --out ranked/`
    """
    import whence
    from whence.similarity.make_ranker import milliseconds

    how = {"unit_column": unit_column, "caption_column": caption_column}
    images = load_data(str(data), out, split=split, resolution=resolution, grey=grey, **how)
    ranker = whence.distil(scores, images, out, features=features, dimensions=dimensions, seed=seed)
    facts, teacher = ranker.manifest.facts, ranker.manifest.made["teacher"]["method"]
    rho, top = facts["spearman"], facts["top"]
    say(f"A ranker of {teacher}, from {facts['queries']:,} queries: {out}")
    say("On queries that were held out, beside the teacher:")
    say(f"  rank correlation over the training images  {rho['value']:.3f} ({rho['low']:.3f} to {rho['high']:.3f})")
    say(f"  of its first ten, among the ranker's ten    {top['value']:.0%} ({top['low']:.0%} to {top['high']:.0%})")
    say(f"Milliseconds for a query: {milliseconds(ranker, images.images(range(min(20, len(images))))):.2g}")
    say(f"Next: whence attribute MODEL {data} --queries sample:16 --ranker {out} --out ranked/")
