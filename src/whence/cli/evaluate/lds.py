"""The commands that compare scores with the retrained models of a bank: `lds`, `deterministic` and `calibration`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import whence
from whence.cli.options import BANK, KINDS, POOL, SCORES, USE
from whence.cli.show import say, show_paragraph, show_statistics
from whence.errors import ArtefactError

if TYPE_CHECKING:
    from whence.evaluation.prediction.lds import LdsRow, LdsTable
    from whence.evaluation.queries import Kind
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic

CALIBRATION = """R²: the share of the measured differences between subsets that the line explains, of all queries
together, and as the mean of each one's own. A slope of 1: losses change as much as predicted; below 1, predictions
overshoot. Only scores in units of the loss, such as TracIn's, claim a slope: methods without a unit compare by R²
alone. The intercept is the change from training on everything where none is predicted, such as the cost of training on
less. No range is predicted, so nothing is said of how often a measured change is in one."""


def lds(
    scores: SCORES,
    bank: BANK,
    pool: POOL = "test",
    form: Annotated[
        Literal["plain", "signed-squares", "squares"],
        typer.Option(help="What is added up over the examples of a subset: the scores, or their squares."),
    ] = "plain",
    queries: KINDS = "all",
    use: USE = "reported",
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
    from whence.evaluation.prediction.lds import Form, bank_lds
    from whence.evaluation.queries import Use
    from whence.scores.stored import read_scores

    stored = read_scores(scores)
    tables = bank_lds(whence.Bank.open(bank), stored, pool, _kinds(queries), Use(use), Form(form))
    _show_tables(tables, use)
    notes = _show_tuning_notes(stored, pool, use, {query for table in tables.values() for query in table.queries})
    say("A good LDS doesn't show that deletions hurt most: see also  whence evaluate deletion")
    if out:
        artefacts.write_json(out, {"tables": {kind: table.record() for kind, table in tables.items()}, "notes": notes})
        say(f"All figures: {out}")


def deterministic(scores: SCORES, bank: BANK) -> None:
    """Linear datamodeling score of one run: its seed, order and draws, with weight 0 for what is left out.

    That is what influence functions estimate: this run, not the mean over training seeds. There is a table for each
    share that is left out and each kind of query. Small shares are nearer to the first order that estimates stop at.

    Example: `whence evaluate deterministic scores/ --bank digits`
    """
    from whence.evaluation.prediction.ceiling import is_deterministic
    from whence.evaluation.prediction.lds import bank_lds
    from whence.scores.stored import read_scores

    stored, models = read_scores(scores), whence.Bank.open(bank)
    pools = [name for name in models.pools if is_deterministic(name)]
    if not pools:
        raise ArtefactError(
            f"The bank {models.path} has no deterministic pool. Make them: whence bank build ... --deterministic 24"
        )
    for pool in sorted(pools, key=lambda name: float(name.removeprefix("deterministic-").rstrip("%"))):
        _show_tables(bank_lds(models, stored, pool), "reported")


def calibration(scores: SCORES, bank: BANK, pool: POOL = "test", queries: KINDS = "all", use: USE = "reported") -> None:
    """Is the loss of a query changed as much as the scores predict, when training images are left out?

    The scores of the images that a subset leaves out are added up, and the loss after training on the subset is fitted
    to these sums by a line, query by query and of all queries together. Intervals are over the subsets.

    Example: `whence evaluate calibration scores/ --bank digits --pool development --use development`
    """
    from whence.evaluation.prediction.calibration import bank_calibration
    from whence.evaluation.queries import Use
    from whence.scores.stored import read_scores

    stored, models = read_scores(scores), whence.Bank.open(bank)
    forms = {"R² together": ".3f", "R² of each": ".3f", "slope": ".3g", "slope of each": ".3g", "intercept": ".2g"}
    for kind, fits in bank_calibration(models, stored, pool, _kinds(queries), Use(use)).items():
        count, subsets = len(next(iter(fits.values())).slopes), len(models.pool(pool).kept)
        say(f"{count} {kind.replace('-', ' ')} queries ({use}), pool {pool}: {subsets} subsets")
        numbers = {
            name: dict(zip(forms, (fit.r2, fit.query_r2, fit.slope, fit.query_slope, fit.intercept), strict=True))
            for name, fit in fits.items()
        }
        show_statistics(numbers, forms)
    show_paragraph(CALIBRATION)
    _show_tuning_notes(stored, pool, use, {query for method in stored for query in method.scores.queries})


def _kinds(queries: str) -> list[Kind]:
    """Return the kinds of queries that the option --queries names."""
    from whence.evaluation.queries import Kind

    return list(Kind) if queries == "all" else [Kind(queries)]


def _show_tuning_notes(stored: Sequence[StoredScores], pool: str, use: str, queries: set[str]) -> list[str]:
    """Print a warning for each reason why figures are too good, and return the warnings."""
    from whence.evaluation.queries import Use, tuning_notes

    notes = tuning_notes(stored, pool, Use(use), queries)
    for note in notes:
        say(f"Warning: {note}")
    return notes


def _show_tables(tables: Mapping[Kind, LdsTable], use: str) -> None:
    for kind, table in tables.items():
        for line in table_lines(table, f"{kind.replace('-', ' ')} queries ({use})"):
            say(line)
        say("")


def table_lines(table: LdsTable, queries: str) -> list[str]:
    """Return the lines of a table of linear datamodeling scores; `queries` says of which queries it is."""
    width = max(len(row.name) for row in table.rows) + 2
    seeds = "1 training seed" if table.seeds == 1 else f"the mean of {table.seeds} training seeds"
    return [
        f"{len(table.queries)} {queries}, pool {table.pool}: {table.subsets} subsets, {seeds}, {table.form} sums",
        f"{'method':{width}}   LDS  95% interval     of ceiling  minus the best, 95% interval",
        *(_row_line(row, width) for row in table.rows),
        _ceiling_line(table),
        *_note_lines(table),
    ]


def _row_line(row: LdsRow, width: int) -> str:
    """The line of a method."""
    mean = row.lds.mean
    if mean.value != mean.value:
        return f"{row.name:{width}}     -  the scores say the same of all subsets"
    share = "-" if row.share is None else f"{row.share.value:.0%}"
    behind = "" if row.to_best is None else f"{row.to_best.statistic.value:6.3f}  {_interval(row.to_best.statistic)}"
    return f"{row.name:{width}}{mean.value:6.3f}  {_interval(mean):16}  {share:>9}   {behind}".rstrip()


def _ceiling_line(table: LdsTable) -> str:
    """The line that says what a perfect prediction would reach."""
    if table.ceiling is None:
        return "Ceiling: not known, since no pool of the bank has several training seeds for subsets of this size."
    if table.agreement is None:
        return "Ceiling 1: the models repeat the reference run, draw for draw, so seeds add no noise."
    source = "" if table.agreement_from == table.pool else f" of the pool {table.agreement_from}"
    return (
        f"Ceiling {table.ceiling.value:.3f} ({_interval(table.ceiling)}): two seeds{source} agree at "
        f"{table.agreement.value:.3f} ({_interval(table.agreement)})."
    )


def _note_lines(table: LdsTable) -> list[str]:
    """The lines that say which methods the subsets can't tell apart, and which queries are left out."""
    lines, best = [], table.rows[0].name
    for row in table.rows[1:]:
        lead = row.to_best
        if lead is None or lead.statistic.value != lead.statistic.value or lead.told_apart:
            continue
        needed = "" if lead.needed is None else f"; it would take about {lead.needed:,}"
        lines.append(f"{table.subsets} subsets are too few to tell {row.name} from {best}{needed}.")
    for row in table.rows:
        undefined = int((~row.lds.defined).sum())
        if 0 < undefined < len(table.queries):
            lines.append(f"{row.name}: {undefined} queries are left out, as their scores say the same of all subsets.")
    return lines


def _interval(statistic: Statistic) -> str:
    return f"{statistic.interval.low:.3f} to {statistic.interval.high:.3f}"
