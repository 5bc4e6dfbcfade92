"""The commands `whence credit ...`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import whence
from whence.cli.credit_options import (
    BASE,
    BEHAVIOUR,
    CLUSTERS,
    DRAWS,
    STEPS,
    WAY,
    CreditOptions,
    checked_kind,
    drawing_of,
    study_of,
)
from whence.cli.options import (
    BUCKETS,
    CAPTION_COLUMN,
    CONFIG,
    CREDIT,
    ESTIMATOR,
    GREY,
    GUIDANCE,
    NEGATIVE_PROMPT,
    PLAN,
    PROMPTS,
    QUERY_PROMPT,
    RESOLUTION,
    SAMPLER,
    SAMPLER_STEPS,
    SKIP_BAD,
    SPLIT,
    WORKERS,
)
from whence.cli.show import say, show_work
from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.credit.drift import Drift

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
ESTIMATORS = Annotated[
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


def compute(
    context: typer.Context,
    source: SOURCE,
    data: DATA = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for shares, tables and the measurements of models of coalitions.")],
    unit_column: UNIT_COLUMN = None,
    behaviour: BEHAVIOUR = None,
    estimator: ESTIMATORS = None,
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
    draws: DRAWS = None,
    seed: Annotated[int, typer.Option(help="Seed of coalitions, trainings and drawn pictures.")] = 0,
    config: CONFIG = None,
    split: SPLIT = None,
    caption_column: CAPTION_COLUMN = None,
    resolution: RESOLUTION = None,
    buckets: BUCKETS = None,
    grey: GREY = False,
    skip_bad: SKIP_BAD = False,
    sampler: SAMPLER = None,
    sampler_steps: SAMPLER_STEPS = None,
    prompts: PROMPTS = None,
    prompt: QUERY_PROMPT = None,
    negative_prompt: NEGATIVE_PROMPT = None,
    guidance: GUIDANCE = None,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Share out a behaviour of a model, or scores, among contributors, with intervals and what is nobody's.

    For a run, models of coalitions are made. Of an ensemble, the members that never saw a contributor give its share
    exactly. Scores are added up over each contributor's images; for an adapter they are those of `tangent`.

    Example: `whence credit compute runs/single DATA --unit-column artist --estimator shapley --out credit/`
    """
    from whence.cli import credit_sources as sources

    how = drawing_of(sampler, sampler_steps, prompts, prompt or (), negative_prompt, guidance)
    rest = split, {"resolution": resolution, "buckets": buckets, "grey": grey}, workers, how, caption_column, skip_bad
    options = CreditOptions(source, data, out, unit_column or [], queries, *rest)
    match checked_kind(context, options, estimator):
        case "an ensemble":
            return sources.compute_from_ensemble(options, draws or 100, plan)
        case "an adapter":
            return sources.compute_from_adapter(options, draws or 128, base, plan)
        case "scores":
            return sources.compute_from_scores(options, plan)
    given: dict[str, Any] = {"held_out": held_out, "base": base, "clusters": clusters, "config": config, "plan": plan}
    given |= {"behaviours": behaviour or ["fit" if queries else "diversity"], "estimators": estimator or ["shapley"]}
    study = study_of(pictures, seed, kind=way, steps=steps, learning_rate=learning_rate)
    sources.compute_from_run(options, study, whence.CoalitionSampling(coalitions, repeats, seed), **given)


def statement(
    credit: CREDIT,
    unit: Annotated[str, typer.Option(help="The contributor.")],
    estimator: ESTIMATOR = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file; default CREDIT/statements/UNIT.html.")] = None,
) -> None:
    """Write a page for one contributor, in plain words.

    It says what was measured, the share, how sure that is, what is owed to nobody in particular, which pictures it is
    about, and what it does not mean. One self-contained HTML file, for a screen, a phone or paper.

    Example: `whence credit statement credit/ --unit "artist 7"`
    """
    from whence.report.credit import write_statement

    say(f"The statement: {write_statement(credit, unit, out, estimator)}")


def why_not(
    credit: CREDIT,
    unit: Annotated[str, typer.Option(help="The contributor who asks.")],
    query: Annotated[str | None, typer.Option(help="The picture it is about, such as 0/3.")] = None,
    behaviour: Annotated[str | None, typer.Option(help="The behaviour it is about, such as diversity.")] = None,
    estimator: ESTIMATOR = None,
    scores: Annotated[
        Path | None, typer.Option(help="Scores of one method, to see which of the contributor's images have the most.")
    ] = None,
) -> None:
    """Say why a contributor is not on top: its share, who is above it, and whether that is sure.

    Example: `whence credit why-not credit/ --query 0/3 --unit "artist 12"`
    """
    from whence.credit import why_not as reasons

    about = behaviour or query
    shares = _select_credit(credit, estimator, about)
    answer = reasons.why_not(shares, unit, about, whence.Scores.read(scores) if scores else None)
    of, sure = answer.explained, {True: "surely", False: "perhaps", None: "how surely is not known"}
    interval = "no interval is known" if answer.low is None else f"95% interval {answer.low:.3g} to {answer.high:.3g}"
    say(f"{unit}, {of.title}, by {answer.estimator}: share {answer.share:.3g} {of.unit}, {interval}.")
    say(f"  Rank {answer.rank} of {answer.of}." + (" It could as well be nothing." if answer.could_be_nothing else ""))
    for rival in answer.above:
        between = "" if rival.low is None else f" ({rival.low:.3g} to {rival.high:.3g})"
        say(f"  {sure[rival.sure]} above: {rival.unit} with {rival.share:.3g}, ahead by {rival.ahead:.3g}{between}")
    if answer.examples:
        say(f"  Its images by {answer.method}: " + ", ".join(f"{name} {value:.3g}" for name, value in answer.examples))


def audit(
    credit: CREDIT,
    names: Annotated[int, typer.Option(min=2, help="How many names a contributor takes.")] = 10,
    split: Annotated[
        str | None, typer.Option(help="A contributor whose images are divided among the names, measured on new models.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="For --split: the run that the shares are of.")] = None,
    workers: WORKERS = None,
) -> None:
    """Show how shares can be gamed: near-duplicates across contributors, and what taking several names would do.

    Copies: a contributor hands in the same images under several names. Split: it hands in parts of them under several
    names; without --split told only where the estimator decides it without new models. All figures are written to
    CREDIT/audit.csv; the column `ratio` is empty where the total before was 0.

    Example: `whence credit audit credit/`
    """
    from whence import artefacts
    from whence.credit.drift import known_drifts, summary, table
    from whence.credit.look_alikes import look_alikes
    from whence.credit.near_duplicates import near_duplicate_clusters
    from whence.credit.split import can_measure_split, measure_split
    from whence.credit.stored_credit import read_game
    from whence.report.credit.credit_folder import CreditFolder

    folder = CreditFolder.read(credit)
    if folder.data is not None:
        clusters = near_duplicate_clusters(folder.data, whence.Contributors.of_data(folder.data))
        say(f"{len(clusters)} clusters of images that are the same, or nearly, across contributors.")
        for one in clusters[:10]:
            say(f"  {', '.join(one.examples[:6])} of {', '.join(one.contributors[:4])}: distance {one.distance:.3f}")
    else:
        say("The images are not in this folder, so near-duplicates were not looked for; compute with DATA.")
    for names_alike in look_alikes(dict.fromkeys(name for shares in folder.credits.values() for name in shares.units)):
        say(f"Contributors whose names look alike: {', '.join(map(repr, names_alike))}. If they are one, name it once.")
    drifts: list[Drift] = []
    for name, shares in folder.credits.items():
        drifts += known_drifts(shares, game=read_game(credit / name, shares), names=names)
        made = folder.manifests[name].made
        if split is not None and can_measure_split(shares, made):
            if run is None:
                raise ConfigError("--split makes new models: name the run that the shares are of with --run.")
            with show_work(f"{name}, {split} under {names} names", workers) as engine:
                study = whence.Study.open(credit, run)
                drifts += measure_split(study, shares, made, split, names, engine=engine)
    means = summary(drifts)
    say(f"A contributor that takes {names} names, on average over contributors (sizes of totals):")
    columns = ("estimator", "attack", "behaviour", "before", "after", "ratio")
    for row in zip(*(means[name] for name in columns), strict=True):
        ratio = "no ratio" if math.isnan(row[-1]) else f"ratio {row[-1]:.2f}"
        say("  {}, {}, {}: {:.3g} before, {:.3g} after, {}".format(*row[:-1], ratio))
    artefacts.write_csv(credit / "audit.csv", table(drifts))
    say(f"All of them: {credit / 'audit.csv'}")


def _select_credit(credit: Path, estimator: str | None, about: str | None) -> whence.Credit:
    """The shares by an estimator; if none is named, by the first that shared out the behaviour or picture."""
    from whence.report.credit.credit_folder import CreditFolder

    folder = CreditFolder.read(credit)
    if estimator is None and about is not None:
        for shares in folder.credits.values():
            if any(about in (one.name, one.picture) for one in shares.explained):
                return shares
    return folder.credits[folder.estimator(estimator)]
