"""The commands `whence credit why-not` and `whence credit audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.options import WORKERS
from whence.cli.show import say

if TYPE_CHECKING:
    from whence.credit.audit import Drift
    from whence.credit.credit import Credit

CREDIT = Annotated[Path, typer.Argument(help="What `whence credit compute` wrote.", metavar="CREDIT")]
ESTIMATOR = Annotated[str | None, typer.Option(help="By which shares; default the first that add up.")]


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
    from whence.scores.scores import Scores

    about = behaviour or query
    shares = _select_credit(credit, estimator, about)
    answer = reasons.why_not(shares, unit, about, Scores.read(scores) if scores else None)
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
    CREDIT/audit.csv.

    Example: `whence credit audit credit/`
    """
    from whence import artefacts
    from whence.cli.progress import progress
    from whence.credit.audit import known_drifts, summary, table
    from whence.credit.contributors import Contributors
    from whence.credit.credit import read_game
    from whence.credit.near_duplicates import near_duplicate_clusters
    from whence.credit.split import can_measure_split, measure_split
    from whence.credit.study import Study
    from whence.engine import Engine
    from whence.errors import ConfigError
    from whence.report.credit.credit_folder import CreditFolder

    folder = CreditFolder.read(credit)
    if folder.data is not None:
        clusters = near_duplicate_clusters(folder.data, Contributors.of_data(folder.data))
        say(f"{len(clusters)} clusters of images that are the same, or nearly, across contributors.")
        for one in clusters[:10]:
            say(f"  {', '.join(one.examples[:6])} of {', '.join(one.contributors[:4])}: distance {one.distance:.3f}")
    else:
        say("The images are not in this folder, so near-duplicates were not looked for; compute with DATA.")
    drifts: list[Drift] = []
    for name, shares in folder.credits.items():
        drifts += known_drifts(shares, game=read_game(credit / name, shares), names=names)
        made = folder.manifests[name].made
        if split is not None and can_measure_split(shares, made):
            if run is None:
                raise ConfigError("--split makes new models: name the run that the shares are of with --run.")
            with progress(f"{name}, {split} under {names} names") as report:
                study = Study.open(credit, run)
                drifts += measure_split(study, shares, made, split, names, engine=Engine(workers, report))
    means = summary(drifts)
    say(f"A contributor that takes {names} names, on average over contributors (sizes of totals):")
    columns = ("estimator", "attack", "behaviour", "before", "after", "ratio")
    for row in zip(*(means[name] for name in columns), strict=True):
        say("  {}, {}, {}: {:.3g} before, {:.3g} after, ratio {:.2f}".format(*row))
    artefacts.write_csv(credit / "audit.csv", table(drifts))
    say(f"All of them: {credit / 'audit.csv'}")


def _select_credit(credit: Path, estimator: str | None, about: str | None) -> Credit:
    """The shares by an estimator; if none is named, by the first that shared out the behaviour or picture."""
    from whence.report.credit.credit_folder import CreditFolder

    folder = CreditFolder.read(credit)
    if estimator is None and about is not None:
        for shares in folder.credits.values():
            if any(about in (one.name, one.picture) for one in shares.explained):
                return shares
    return folder.credits[folder.estimator(estimator)]
