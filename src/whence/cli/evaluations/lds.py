"""The command `whence evaluate lds`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.evaluation.prediction.lds_table import Row, Table
    from whence.statistics.statistic import Statistic as Statistic


def lds(
    scores: Annotated[
        list[Path], typer.Argument(help="What `whence attribute` wrote: OUT with its methods, or OUT/d-trak.")
    ],
    bank: Annotated[str, typer.Option(help="The retrained models: a directory, or `digits`, which comes with Whence.")],
    pool: Annotated[
        str, typer.Option(help="Which of them: `test`, `development` (to choose knobs), `deterministic-10%` ...")
    ] = "test",
    form: Annotated[
        Literal["plain", "signed-squares", "squares"],
        typer.Option(help="What is added up over the examples of a subset: the scores, or their squares."),
    ] = "plain",
    queries: Annotated[
        Literal["all", "held-out", "drawn"], typer.Option(help="Kinds of queries, each a table.")
    ] = "all",
    use: Annotated[
        Literal["reported", "development"], typer.Option(help="Queries for reported figures, or to choose knobs on.")
    ] = "reported",
    out: Annotated[Path | None, typer.Option(help="JSON file for all figures.")] = None,
) -> None:
    """Linear datamodeling score: do the scores predict which training subsets make models of lower loss?

    The bank holds models that were trained on recorded subsets. For each query the scores of the examples in a subset
    are added up, and the sums are compared with the measured losses of the query by rank over the subsets: 1 if the
    order is right, 0 by chance. The mean over queries is shown with its interval over subsets, beside its ceiling (two
    trainings on one subset don't agree either) and beside random scores. Methods are compared on the same subsets.

    Example: `whence evaluate lds scores/ --bank digits`
    """
    from whence import artefacts
    from whence.evaluation.asked import Kind, Use
    from whence.evaluation.bank.bank import Bank
    from whence.evaluation.prediction.bank_lds import bank_lds
    from whence.evaluation.prediction.lds import Form
    from whence.evaluation.prediction.lds_record import record
    from whence.evaluation.tuning import tuning_notes
    from whence.scores.stored import read_scores

    given = read_scores(scores)
    kinds = list(Kind) if queries == "all" else [Kind(queries)]
    tables = bank_lds(Bank.open(bank), given, pool, kinds, Use(use), Form(form))
    for kind, table in tables.items():
        for line in describe(table, f"{kind.replace('-', ' ')} queries ({use})"):
            say(line)
        say("")
    asked = {query for table in tables.values() for query in table.queries}
    notes = tuning_notes(given, pool, Use(use), asked)
    for note in notes:
        say(f"Warning: {note}")
    say("A good LDS doesn't show that deletions hurt most: see also  whence evaluate deletion")
    if out:
        artefacts.write_json(out, {"tables": {kind: record(table) for kind, table in tables.items()}, "notes": notes})
        say(f"All figures: {out}")


def describe(table: Table, what: str) -> list[str]:
    """Return a table in words, a line each."""
    width = max(len(row.name) for row in table.rows) + 2
    seeds = "1 training seed" if table.seeds == 1 else f"the mean of {table.seeds} training seeds"
    return [
        f"{len(table.queries)} {what}, pool {table.pool}: {table.subsets} subsets, {seeds}, {table.form} sums",
        f"{'method':{width}}   LDS  95% interval     of ceiling  minus the best, 95% interval",
        *(_row(row, width) for row in table.rows),
        *_ceiling(table),
        *_words(table),
    ]


def _row(row: Row, width: int) -> str:
    """The line of a method."""
    mean = row.lds.mean
    if mean.value != mean.value:
        return f"{row.name:{width}}     -  the scores say the same of all subsets"
    share = "-" if row.share is None else f"{row.share.value:.0%}"
    behind = "" if row.to_best is None else f"{row.to_best.measured.value:6.3f}  {_between(row.to_best.measured)}"
    return f"{row.name:{width}}{mean.value:6.3f}  {_between(mean):16}  {share:>9}   {behind}".rstrip()


def _ceiling(table: Table) -> list[str]:
    """What the figures can be at best."""
    if table.ceiling is None:
        return ["Ceiling: not known, since no pool of the bank has several training seeds for subsets of this size."]
    if table.agreement is None:
        return ["Ceiling 1: the models repeat the reference run, draw for draw, so seeds add no noise."]
    source = "" if table.agreement_from == table.pool else f" of the pool {table.agreement_from}"
    return [
        f"Ceiling {table.ceiling.value:.3f} ({_between(table.ceiling)}): two seeds{source} agree at "
        f"{table.agreement.value:.3f} ({_between(table.agreement)})."
    ]


def _words(table: Table) -> list[str]:
    """What can't be said from the figures."""
    lines, best = [], table.rows[0].name
    for row in table.rows[1:]:
        found = row.to_best
        if found is None or found.measured.value != found.measured.value or found.told_apart:
            continue
        needed = "" if found.needed is None else f"; it would take about {found.needed:,}"
        lines.append(f"{table.subsets} subsets are too few to tell {row.name} from {best}{needed}.")
    for row in table.rows:
        missing = int((~row.lds.defined).sum())
        if 0 < missing < len(table.queries):
            lines.append(f"{row.name}: {missing} queries are left out, as their scores say the same of all subsets.")
    return lines


def _between(measured: Statistic) -> str:
    return f"{measured.interval.low:.3f} to {measured.interval.high:.3f}"
