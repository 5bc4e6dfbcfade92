"""The command `whence evaluate deterministic`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.evaluations.lds import describe
from whence.cli.show import say


def deterministic(
    scores: Annotated[
        list[Path], typer.Argument(help="What `whence attribute` wrote: OUT with its methods, or OUT/d-trak.")
    ],
    bank: Annotated[str, typer.Option(help="The retrained models: a directory, or `digits`, which comes with Whence.")],
) -> None:
    """Linear datamodeling score of one run: its seed, order and draws, with weight 0 for what is left out.

    That is what influence functions estimate: this run, not the mean over training seeds. There is a table for each
    share that is left out and each kind of query. Small shares are nearer to the first order that estimates stop at.

    Example: `whence evaluate deterministic scores/ --bank digits`
    """
    from whence.errors import ArtefactError
    from whence.evaluation.asked import Kind, Use
    from whence.evaluation.bank import Bank
    from whence.evaluation.prediction.bank_lds import bank_lds
    from whence.evaluation.prediction.ceiling import is_deterministic
    from whence.scores.stored import read_scores

    given, opened = read_scores(scores), Bank.open(bank)
    pools = [name for name in opened.pools if is_deterministic(name)]
    if not pools:
        raise ArtefactError(
            f"The bank {opened.path} has no deterministic pool. Make them: whence bank build ... --deterministic 24"
        )
    for pool in sorted(pools, key=lambda name: float(name.removeprefix("deterministic-").rstrip("%"))):
        for kind, table in bank_lds(opened, given, pool, list(Kind), Use.REPORTED).items():
            for line in describe(table, f"{kind.replace('-', ' ')} queries (reported)"):
                say(line)
            say("")
