"""The commands `whence index` and `whence search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.data import require_directory
from whence.cli.options import GREY, QUERY_PROMPT, RESOLUTION
from whence.cli.show import progress, say, show_notes, size

if TYPE_CHECKING:
    from whence.attribution.index.index import Index

NOW = Annotated[str | None, typer.Option(help="Where the model is now; default where it was when it was attributed.")]


def index(
    scores: Annotated[
        Path,
        typer.Argument(help="What `whence attribute` wrote: OUT with one method, or OUT/d-trak.", metavar="SCORES"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the index.")],
    factory: Annotated[
        str | None,
        typer.Option(
            help="FAISS's name of the index that finds candidates, like 'IVF1024,SQfp16'; default Flat up to 20,000 "
            "images, and above PQ...x4fs, 4 bits for every two of the columns that matter."
        ),
    ] = None,
    probes: Annotated[
        int | None, typer.Option(min=1, help="Lists that are looked at, of an index with lists; default an eighth.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Folder of the features, where --store was given.")] = None,
    model: NOW = None,
) -> None:
    """Make an index of the training images, in which those of the largest scores are found in milliseconds.

    It is of one method whose score is an inner product, such as tangent-squared, trak or d-trak, and of one model. The
    recall is measured against all scores of the queries of SCORES and kept. Needs `pip install 'whence[index]'`.

    Example: `whence index scores/ --out index/`
    """
    require_directory(out)
    with progress("index") as report:
        settings: dict[str, Any] = {"factory": factory, "probes": probes, "store": store, "model": model}
        made = whence.build_index(scores, out, **settings, engine=whence.Engine(report=report))
    _show_index(made)
    say(f"Next: whence search {out} --queries picture.png --top 20")


def search(
    index: Annotated[Path, typer.Argument(help="What `whence index` wrote.", metavar="INDEX")],
    queries: Annotated[
        str, typer.Option(help="The pictures that are asked about: an image, a folder, or sample:COUNT of the model.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Training images in each direction.")] = 20,
    prompt: QUERY_PROMPT = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    model: NOW = None,
) -> None:
    """Find the training images with the largest and the smallest scores for new pictures, in an index.

    The gradients of the pictures are taken at the draws of the index. Candidates are scored exactly: as `whence
    attribute` scores them, without standard errors.

    Example: `whence search index/ --queries picture.png --top 20`
    """
    from whence.attribution.index.index import Index
    from whence.attribution.index.search import open_target
    from whence.diffusion.prompts import Prompts

    opened = Index.open(index)
    target = open_target(opened, model)
    pictures = target.queries(queries, prompts=Prompts.read(None, prompt or ()), resolution=resolution, grey=grey)
    show_notes(pictures.notes, of="the queries")
    with progress("gradients") as report:
        result = whence.search(opened, pictures, top=top, model=target, engine=whence.Engine(report=report))
    for found in result.found:
        say(repr(found.proponents))
        say(repr(found.opponents))
    searched = sum(found.milliseconds for found in result.found) / len(result.found)
    say(f"Gradients of a picture: {result.feature_milliseconds:,.0f} ms. Both searches: {searched:,.1f} ms.")
    _show_recall(opened)


def _show_index(made: Index) -> None:
    """Print what an index is of, how it is searched, and its size."""
    facts, how = made.manifest.facts, made.manifest.facts["search"]
    used = sum(file.stat().st_size for file in made.path.rglob("*") if file.is_file())
    say(f"{made.path}: {facts['examples']:,} training images by {made.method.name}, {size(used)}")
    lists = f", {how['probes']} lists" if how["probes"] else ""
    say(f"Candidates by {how['factory']} of {how['columns']} columns{lists}: {how['candidates']:,}, scored exactly")
    _show_recall(made)


def _show_recall(made: Index) -> None:
    recall = made.manifest.facts["recall"]
    say(
        f"Recall of the top {recall['top']}: {recall['value']:.3f} ({recall['low']:.3f} to {recall['high']:.3f}) in "
        f"{recall['queries']} searches that the number of candidates was not chosen on"
    )
