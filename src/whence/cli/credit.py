"""The commands `whence credit ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from whence.cli import credit_asking, credit_pages
from whence.cli.options import CONFIG, GREY, PLAN, RESOLUTION, SPLIT, WORKERS

HELP = "Credit: what a model does, shared out among the contributors to its training data."
app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown")
app.command()(credit_pages.statement)
app.command("why-not")(credit_asking.why_not)
app.command()(credit_asking.audit)


@app.callback()
def credit() -> None:
    """Credit: what a model does, shared out among the contributors to its training data."""


@app.command()
def compute(
    source: Annotated[
        Path,
        typer.Argument(help="A run of `whence train` or a diffusers folder, an ensemble, or what `attribute` wrote."),
    ],
    data: Annotated[
        str | None,
        typer.Argument(help="The training data, as for `whence train`. Ensembles and scores know their own."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for shares, tables and what models of coalitions showed.")],
    unit_column: Annotated[
        list[str] | None,
        typer.Option(help="Column of DATA that says whose an image is; may be repeated, then contributors overlap."),
    ] = None,
    behaviour: Annotated[
        list[str] | None,
        typer.Option(
            help="What is shared out: of the model diversity, coverage, precision, held-out-fit, classes, class:NAME, "
            "score:FOLDER or MODULE:FUNCTION; of pictures fit, distance, ssim, embedding:FOLDER. May be repeated; "
            "default diversity, or fit where --queries are given."
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(help="shapley (the default), banzhaf, leave-one-out, add-one-in or owen; may be repeated."),
    ] = None,
    queries: Annotated[
        str | None, typer.Option(help="The pictures that are asked about, as for `whence attribute`: sample:COUNT ...")
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="Pictures that training never saw, such as digits:test or a folder.")
    ] = None,
    coalitions: Annotated[int, typer.Option(help="Coalitions that are drawn; more later add to them.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Training seeds for each coalition.")] = 1,
    way: Annotated[
        Literal["fine-tuning", "retraining"],
        typer.Option(help="Models of coalitions: the full model trained on for a few steps, or new ones."),
    ] = "fine-tuning",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of fine-tuning; default a twentieth of the run's.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak learning rate; default the run's.")] = None,
    prune: Annotated[float, typer.Option(help="Share of the channels that are cut before fine-tuning.")] = 0.0,
    base: Annotated[
        Path | None, typer.Option(help="The model before any of DATA, as v(none); default an untrained network.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures that every model draws.")] = 128,
    clusters: Annotated[
        str | None,
        typer.Option(
            help="For owen: a column of DATA that says which contributors belong together; default those who "
            "share near-duplicates."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the exact losses of an ensemble.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of coalitions, trainings and drawn pictures.")] = 0,
    config: CONFIG = None,
    split: SPLIT = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Share out what a model does, or what scores say, among contributors, with intervals and what is nobody's.

    Of a run: by models of coalitions of contributors, made by short fine-tuning or anew. Of an ensemble: exactly, by
    the members that never saw a contributor. Of scores: sums over each contributor's images. Interrupted, the same
    command continues; other estimators and behaviours use the models that are there.

    Example: `whence credit compute runs/single digits --unit-column contributor --held-out digits:test
    --behaviour held-out-fit --estimator shapley --out credit/`
    """
    from whence import artefacts
    from whence.cli.credit_sources import Asked, of_ensemble, of_run, of_scores

    asked = Asked(source, data, out, tuple(unit_column or ()), queries, split, resolution, grey, workers, plan)
    kinds = artefacts.kinds_in(source)
    if "ensemble" in kinds:
        of_ensemble(asked, draws)
    elif kinds & {"scores", "attribution"}:
        of_scores(asked)
    else:
        of_run(
            asked,
            behaviours=behaviour or (["fit"] if queries else ["diversity"]),
            estimators=estimator or ["shapley"],
            held_out=held_out,
            way={"kind": way, "steps": steps, "learning_rate": learning_rate, "pruned": prune},
            effort={"coalitions": coalitions, "repeats": repeats, "seed": seed},
            base=base,
            pictures=pictures,
            clusters=clusters,
            config=config,
        )
