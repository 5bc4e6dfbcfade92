"""The commands `whence credit why-not` and `whence credit audit`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli.options import WORKERS
from whence.cli.show import say

if TYPE_CHECKING:
    import numpy as np

    from whence.credit.credit import Credit
    from whence.credit.drift import Drift

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
    from whence.credit.why_not import why_not as answer
    from whence.scores.scores import Scores

    found = answer(
        _chosen(credit, estimator, behaviour or query),
        unit,
        behaviour or query,
        Scores.read(scores) if scores else None,
    )
    of, sure = found.explained, {True: "surely", False: "perhaps", None: "how surely is not known"}
    interval = "no interval is known" if found.low is None else f"95% interval {found.low:.3g} to {found.high:.3g}"
    say(f"{unit}, {of.title}, by {found.estimator}: share {found.share:.3g} {of.unit}, {interval}.")
    say(f"  Rank {found.rank} of {found.of}." + (" It could as well be nothing." if found.could_be_nothing else ""))
    for rival in found.above:
        between = "" if rival.low is None else f" ({rival.low:.3g} to {rival.high:.3g})"
        say(f"  {sure[rival.sure]} above: {rival.unit} with {rival.share:.3g}, ahead by {rival.ahead:.3g}{between}")
    if found.examples:
        say(f"  Its images by {found.method}: " + ", ".join(f"{name} {value:.3g}" for name, value in found.examples))


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
    from whence.credit.audit import known_drifts
    from whence.credit.contributors import Contributors
    from whence.credit.credit import read_game
    from whence.credit.drift import summary, table
    from whence.credit.duplicates import clusters_across
    from whence.report.credit.credit_folder import CreditFolder

    found = CreditFolder.read(credit)
    if found.data is not None:
        clusters = clusters_across(found.data, Contributors.of_data(found.data))
        say(f"{len(clusters)} clusters of images that are the same, or nearly, across contributors.")
        for one in clusters[:10]:
            say(f"  {', '.join(one.examples[:6])} of {', '.join(one.contributors[:4])}: distance {one.distance:.3f}")
    else:
        say("The images are not in this folder, so near-duplicates were not looked for; compute with DATA.")
    drifts: list[Drift] = []
    for name, shares in found.credits.items():
        drifts += known_drifts(shares, game=read_game(credit / name, shares), names=names)
        if split is not None:
            drifts += _split(credit, shares, found.manifests[name].made, split, names, run, workers)
    means = summary(drifts)
    say(f"A contributor that takes {names} names, on average over contributors (sizes of totals):")
    columns = ("estimator", "attack", "behaviour", "before", "after", "ratio")
    for row in zip(*(means[name] for name in columns), strict=True):
        say("  {}, {}, {}: {:.3g} before, {:.3g} after, ratio {:.2f}".format(*row))
    artefacts.write_csv(credit / "audit.csv", table(drifts))
    say(f"All of them: {credit / 'audit.csv'}")


def _split(
    credit: Path,
    shares: Credit,
    made: Mapping[str, Any],
    unit: str,
    names: int,
    run: Path | None,
    workers: int | None,
) -> tuple[Drift, ...]:
    """Return the drift of one contributor's totals, on models of coalitions of its parts.

    Raises:
        ConfigError: The run is not named.
    """
    from whence.cli.progress import progress
    from whence.credit.audit import split_drifts
    from whence.credit.behaviours import behaviour
    from whence.credit.contributors import Contributors
    from whence.credit.divided import split as divide
    from whence.credit.estimators import ESTIMATORS, owen
    from whence.credit.study import Study
    from whence.credit.values import play
    from whence.errors import ConfigError

    if shares.estimator not in ESTIMATORS or "behaviours" not in made:
        return ()
    if run is None:
        raise ConfigError("--split makes new models: name the run that the shares are of with --run.")
    study = Study.open(credit, run)
    divided = divide(Contributors.of_data(study.data), unit, names)
    players, chosen = divided.contributors, [behaviour(name) for name in made["behaviours"]]
    estimator = ESTIMATORS[shares.estimator]
    if shares.estimator == "owen":
        estimator = owen(len(players), divided.clusters)

    def values(rows: np.ndarray) -> np.ndarray:
        with progress(f"{shares.estimator}, {unit} under {names} names") as report:
            return play(study, players, chosen, rows, repeats=made["repeats"], workers=workers, report=report).values

    return split_drifts(shares, divided, estimator, values, count=made["coalitions"], seed=made["seed"])


def _chosen(credit: Path, estimator: str | None, about: str | None) -> Credit:
    """The shares by an estimator; if none is named, by the first that shared out what is asked about."""
    from whence.report.credit.credit_folder import CreditFolder

    found = CreditFolder.read(credit)
    if estimator is None and about is not None:
        for one in found.credits.values():
            if any(about in (row.name, row.picture) for row in one.explained):
                return one
    return found.credits[found.estimator(estimator)]
