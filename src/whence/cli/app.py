"""The command `whence`: a table of its commands, and what it does with errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

import typer

from whence.cli import attribute, bank, credit, ensemble, evaluate, leaderboard, proof
from whence.cli.demo import demo
from whence.cli.report import report
from whence.cli.train import train
from whence.errors import WhenceError

#: Exit code after Ctrl-C.
INTERRUPTED = 130

COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "report": report,
    "demo": demo,
    "attribute": attribute.attribute,
    "methods": attribute.methods,
    "export": attribute.export,
    "leaderboard": leaderboard.leaderboard,
    "verify": proof.verify,
}
GROUPS: dict[str, typer.Typer] = {
    "ensemble": ensemble.app,
    "bank": bank.app,
    "evaluate": evaluate.app,
    "credit": credit.app,
}

app = typer.Typer(
    help="Training data attribution for diffusion models: which training images is a picture made of, and what "
    "would have been drawn without them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for name, command in COMMANDS.items():
    app.command(name)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line. An error that the user can act on is printed as one message, without a traceback."""
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
