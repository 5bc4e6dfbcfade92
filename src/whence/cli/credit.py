"""The commands `whence credit ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from whence.cli.credit_audit import CREDIT, audit, why_not
from whence.cli.options import CONFIG, GREY, PLAN, RESOLUTION, SPLIT, WORKERS
from whence.cli.show import say

HELP = "Credit: what a model does, shared out among the contributors to its training data."
app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown")
app.command("why-not")(why_not)
app.command()(audit)


@app.callback()
def credit() -> None:
    """Credit: what a model does, shared out among the contributors to its training data."""


SOURCE = Annotated[
    Path,
    typer.Argument(help="A run of `whence train` or a diffusers folder, an ensemble, or what `attribute` wrote."),
]
DATA = Annotated[
    str | None,
    typer.Argument(help="The training data, as for `whence train`. Ensembles and scores know their own."),
]
UNIT_COLUMN = Annotated[
    list[str] | None,
    typer.Option(help="Column of DATA that says whose an image is; may be repeated, then contributors overlap."),
]
BEHAVIOUR = Annotated[
    list[str] | None,
    typer.Option(
        help="What is shared out: of the model diversity, coverage, precision, held-out-fit, classes, class:NAME, "
        "score:FOLDER or MODULE:FUNCTION; of pictures fit, distance, ssim, embedding:FOLDER. May be repeated; "
        "default diversity, or fit where --queries are given."
    ),
]
ESTIMATOR = Annotated[
    list[str] | None,
    typer.Option(help="shapley (the default), banzhaf, leave-one-out, add-one-in or owen; may be repeated."),
]
QUERIES = Annotated[
    str | None, typer.Option(help="The pictures that are explained, as for `whence attribute`: sample:COUNT ...")
]
HELD_OUT = Annotated[
    str | None, typer.Option(help="Pictures that training never saw, such as digits:test or a folder.")
]
COALITIONS = Annotated[int, typer.Option(help="Coalitions that are drawn; a larger number later adds to them.")]
WAY = Annotated[
    Literal["fine-tuning", "retraining"],
    typer.Option(
        help="How models of coalitions are made: the full model is trained on for a few steps, or new ones are."
    ),
]
STEPS = Annotated[int | None, typer.Option(min=1, help="Steps of fine-tuning; default a twentieth of the run's.")]
BASE = Annotated[
    Path | None, typer.Option(help="The model before any of DATA, as v(none); default an untrained network.")
]
CLUSTERS = Annotated[
    str | None,
    typer.Option(
        help="For owen: a column of DATA that says which contributors belong together; default: those who "
        "share near-duplicates."
    ),
]


@app.command()
def compute(
    source: SOURCE,
    data: DATA = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for shares, tables and the measurements of models of coalitions.")],
    unit_column: UNIT_COLUMN = None,
    behaviour: BEHAVIOUR = None,
    estimator: ESTIMATOR = None,
    queries: QUERIES = None,
    held_out: HELD_OUT = None,
    coalitions: COALITIONS = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Training seeds for each coalition.")] = 1,
    way: WAY = "fine-tuning",
    steps: STEPS = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak learning rate; default the run's.")] = None,
    base: BASE = None,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures that every model draws.")] = 128,
    clusters: CLUSTERS = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the exact losses of an ensemble.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of coalitions, trainings and drawn pictures.")] = 0,
    config: CONFIG = None,
    split: SPLIT = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Share out a behaviour of a model, or scores, among contributors, with intervals and what is nobody's.

    For a run, models of coalitions of contributors are made, by short fine-tuning or anew. For an ensemble, the members
    that never saw a contributor give its share exactly. For scores, those of each contributor's images are added up.
    Interrupted, the same command continues; other estimators and behaviours use the same models.

    Example: `whence credit compute runs/single digits --unit-column contributor --held-out digits:test
    --behaviour held-out-fit --estimator shapley --out credit/`
    """
    from whence import artefacts
    from whence.cli.credit_sources import CreditOptions, compute_from_ensemble, compute_from_run, compute_from_scores
    from whence.credit.study import StudyConfig
    from whence.credit.study_credit import CoalitionSampling
    from whence.retraining.rule import RetrainingRule

    options = CreditOptions(source, data, out, tuple(unit_column or ()), queries, split, resolution, grey, workers)
    kinds = artefacts.kinds_in(source)
    if "ensemble" in kinds:
        return compute_from_ensemble(options, draws)
    if kinds & {"scores", "attribution"}:
        return compute_from_scores(options)
    rule = RetrainingRule(kind=way, steps=steps, learning_rate=learning_rate)
    study = StudyConfig(rule=rule, pictures=pictures, seed=seed)
    inputs: dict[str, Any] = {"held_out": held_out, "base": base, "clusters": clusters, "config": config}
    compute_from_run(
        options,
        study,
        CoalitionSampling(coalitions, repeats, seed),
        behaviours=behaviour or (["fit"] if queries else ["diversity"]),
        estimators=estimator or ["shapley"],
        plan=plan,
        **inputs,
    )


@app.command()
def statement(
    credit: CREDIT,
    unit: Annotated[str, typer.Option(help="The contributor.")],
    estimator: Annotated[str | None, typer.Option(help="By which shares; default the first that add up.")] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file; default CREDIT/statements/UNIT.html.")] = None,
) -> None:
    """Write a page for one contributor, in plain words.

    It says what was measured, the share, how sure that is, what is owed to nobody in particular, which pictures it is
    about, and what it does not mean. One self-contained HTML file, for a screen, a phone or paper.

    Example: `whence credit statement credit/ --unit "artist 7"`
    """
    from whence.report.credit import write_statement

    say(f"The statement: {write_statement(credit, unit, out, estimator)}")
