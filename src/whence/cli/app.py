"""The command `whence`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from whence.cli import attribute, bank, credit, ensemble, evaluate, leaderboard, proof
from whence.cli import landscape as _landscape  # noqa: F401  adds commands to `ensemble`
from whence.cli import screen as _screen  # noqa: F401  adds a command to `ensemble`
from whence.cli import universe as _universe  # noqa: F401  adds a command to `ensemble`
from whence.cli.options import CONFIG, DATA, GREY, PLAN, RESOLUTION, SEED, SPLIT, STEPS, UNIT_COLUMN, WORKERS
from whence.cli.show import say, show_cost, show_notes
from whence.errors import WhenceError

#: Exit code after Ctrl-C.
INTERRUPTED = 130

app = typer.Typer(
    help="Training data attribution for diffusion models: which training images is a picture made of, and what "
    "would have been drawn without them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(ensemble.app, name="ensemble")
app.add_typer(bank.app, name="bank")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(credit.app, name="credit")


@app.command()
def train(
    data: DATA,
    out: Annotated[Path, typer.Option(help="The run directory; also an ordinary diffusers folder.")],
    steps: STEPS = None,
    seed: SEED = None,
    split: SPLIT = None,
    unit_column: UNIT_COLUMN = None,
    resolution: RESOLUTION = None,
    grey: GREY = False,
    config: CONFIG = None,
    plan: PLAN = False,
) -> None:
    """Train one diffusion model, recorded step by step.

    Interrupted at any moment, the same command continues and ends with the same weights to the last bit.
    `DDPMPipeline.from_pretrained(OUT)` opens the result.

    Example: `whence train digits --steps 1000 --out runs/single`
    """
    from whence.cli.progress import progress
    from whence.config import read_config
    from whence.data import load
    from whence.diffusion.training import train as train_model
    from whence.diffusion.training_cost import training_cost

    settings = read_config(config).updated("training", steps=steps, seed=seed)
    images = load(data, split=split, unit_column=unit_column, resolution=resolution, grey=grey)
    show_notes(images.notes)
    if plan:
        show_cost(training_cost(images, settings), out)
        return
    with progress("training") as report:
        train_model(images, out, settings, report=report)
    say(f"{out} is trained: {settings.training.steps:,} steps on {len(images):,} images.")
    say(f'Open it with  diffusers.DDPMPipeline.from_pretrained("{out}")')


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(help="The directory of an ensemble, or what `attribute` or `credit compute` wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file; default RUN/report.html.")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Compare the radii of landscapes with those of this run; may be repeated."),
    ] = None,
) -> None:
    """Write one self-contained HTML file that opens offline and needs no server.

    Of an ensemble: the pictures, landscapes, counterfactuals and placebos that it has drawn so far. Of scores: the
    proponents and opponents of each picture with error bars, and where nothing rises above Monte Carlo noise. Of
    credit: the shares of all contributors with intervals, and what is owed to nobody in particular.

    Example: `whence report runs/digits-256 --beside runs/digits-512 --beside runs/digits-1024`
    """
    from whence.ensemble import Ensemble
    from whence.report import write_report
    from whence.report.credit import is_credit, write_credit_report
    from whence.report.scores import write_scores_report

    credited = is_credit(run)
    if beside and (credited or (run / "request").exists()):
        raise typer.BadParameter(f"--beside compares ensembles; these are {'shares' if credited else 'scores'}.")
    if credited:
        say(f"The report: {write_credit_report(run, out)}")
        return
    if (run / "request").exists():
        say(f"The report: {write_scores_report(run, out)}")
        return
    others = [Ensemble.open(path) for path in beside or []]
    say(f"The report: {write_report(Ensemble.open(run), out, beside=others)}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("runs/demo"),
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """The whole story on real handwritten digits: train, draw, leave training images out, look."""
    from whence.cli.demo import demo_cost, run_demo

    if plan:
        show_cost(demo_cost(workers), out)
    else:
        run_demo(out, workers)


app.command()(attribute.attribute)
app.command()(attribute.methods)
app.command()(attribute.export)
app.command()(leaderboard.leaderboard)
app.command()(proof.verify)


def main() -> None:
    """Run the command line; what a user can act on is printed as one message, without a traceback."""
    try:
        app()
    except WhenceError as error:
        _end(f"Error: {error}", 1)
    except OSError as error:
        place = error.filename2 or error.filename or "a file"
        _end(f"Error: {place}: {error.strerror or error}. What was finished is kept.", 1)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        _end("Interrupted. What was finished is kept: the same command continues.", INTERRUPTED)


def _end(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
