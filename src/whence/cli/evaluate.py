"""The commands `whence evaluate ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.evaluations.calibration import calibration
from whence.cli.evaluations.deletion import deletion
from whence.cli.evaluations.deterministic import deterministic
from whence.cli.evaluations.false_attribution import false_attribution
from whence.cli.evaluations.landscape import landscape
from whence.cli.evaluations.lds import lds
from whence.cli.evaluations.outliers import outliers
from whence.cli.evaluations.repeatability import repeatability
from whence.cli.evaluations.retrieval import retrieval
from whence.cli.evaluations.specificity import specificity
from whence.cli.options import RUN
from whence.cli.show import say

app = typer.Typer(
    help="How far an attribution can be believed: measured against counterfactuals, with controls and intervals.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def ceiling(
    run: RUN,
    second: Annotated[Path, typer.Argument(help="An ensemble on the same data with other code words and weights.")],
) -> None:
    """How far two independent codebooks agree on who mattered: the ceiling of any agreement with a landscape.

    Compares the distances of all units in the landscapes of the same pictures. Train the second ensemble with another
    --codebook-seed and another --seed, and draw the same --samples of both.

    Example: `whence evaluate ceiling runs/ens runs/second`
    """
    import numpy as np

    from whence.ensemble import Ensemble
    from whence.evaluation.exact.codebook_ceiling import ceiling as measure
    from whence.statistics.agreement import TOP

    found = measure(Ensemble.open(run), Ensemble.open(second))
    for name, correlation, recall in zip(found.queries, found.correlations, found.recalls, strict=True):
        say(f"Picture {name}: Spearman {correlation:6.2f}, top {TOP} shared {recall:.0%}")
    say(
        f"Median of {len(found.queries)}: Spearman {np.nanmedian(found.correlations):.2f}; top {TOP} shared "
        f"{found.recalls.mean():.0%} on average, {found.chance:.0%} by chance."
    )
    say("No estimate of these landscapes can be expected to say more about the images than this.")


app.command()(calibration)
app.command()(deletion)
app.command()(deterministic)
app.command("false-attribution")(false_attribution)
app.command()(landscape)
app.command()(lds)
app.command()(outliers)
app.command()(repeatability)
app.command()(retrieval)
app.command()(specificity)
