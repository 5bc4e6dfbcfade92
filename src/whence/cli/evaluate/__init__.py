"""The commands `whence evaluate ...`, a file for each truth that scores are compared with."""

import typer

from whence.cli.evaluate import deletion, false_attribution, landscape, lds, ranking

app = typer.Typer(
    help="How far an attribution can be believed: measured against counterfactuals, with controls and intervals.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
for command in (
    landscape.ceiling,
    lds.calibration,
    deletion.deletion,
    lds.deterministic,
    false_attribution.false_attribution,
    landscape.landscape,
    lds.lds,
    ranking.outliers,
    ranking.repeatability,
    ranking.retrieval,
    ranking.specificity,
):
    app.command()(command)
