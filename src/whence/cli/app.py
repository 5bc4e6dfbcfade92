"""The command `whence`: a table of its commands, and what it does with errors."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from whence.cli import (
    attribute,
    bank,
    bank_show,
    check,
    codebook,
    credit,
    credit_ingredients,
    demo,
    distil,
    doctor,
    ensemble,
    explore,
    export,
    index,
    landscape,
    methods,
    proof,
    report,
    reweight,
    training,
    work,
)
from whence.cli.audit import data as audit_data
from whence.cli.audit import membership, memorisation
from whence.cli.evaluate import deletion, false_attribution, ground_truth, lds, ranking, smoothness
from whence.cli.output import protect_output
from whence.cli.show import say, size
from whence.errors import WhenceError

#: Exit code after Ctrl-C.
INTERRUPTED = 130
#: What a user does about short memory.
MORE_MEMORY = (
    "A smaller training.batch_size, smaller model.channels, fewer --workers or a smaller --resolution need less."
)
#: Parts of what PyTorch says where memory is short, or where no memory could be as large.
SHORT = ("can't allocate memory", "Storage size calculation overflowed", "integer multiplication overflow")

#: Functions by the name of their command.
Commands = Mapping[str, Callable[..., None]]

#: Commands whose work several machines can share.
TOGETHER: Commands = {
    "attribute": work.on_engines(attribute.attribute, "out"),
    "ensemble train": work.on_engines(training.train_ensemble, "out"),
    "ensemble landscape": work.on_engines(landscape.landscape, "run"),
    "bank build": work.on_engines(bank.build, "out"),
    "credit compute": work.on_engines(credit.compute, "out"),
}
COMMANDS: Commands = {
    "train": training.train,
    "report": report.report,
    "explore": explore.explore,
    "demo": demo.demo,
    "check": check.check,
    "attribute": TOGETHER["attribute"],
    "distil": distil.distil,
    "index": index.index,
    "search": index.search,
    "methods": methods.methods,
    "reweight": reweight.reweight,
    "export": export.export,
    "leaderboard": report.leaderboard,
    "verify": proof.verify,
    "work": work.work,
    "doctor": doctor.doctor,
}
#: Groups of commands, with their help.
GROUPS: dict[str, tuple[str, Commands]] = {
    "ensemble": (
        "Encoded ensembles: exact counterfactual pictures, by leaving out the members that saw a training image.",
        {
            "train": TOGETHER["ensemble train"],
            "sample": ensemble.sample,
            "ablate": ensemble.ablate,
            "root": proof.root,
            "certify": proof.certify,
            "prove": proof.prove,
            "codebook": codebook.codebook,
            "losses": landscape.losses,
            "landscape": TOGETHER["ensemble landscape"],
            "influence": landscape.influence,
            "screen": ensemble.screen,
            "export": ensemble.export,
        },
    ),
    "audit": (
        "Audits: was a picture in the training data, does the model give it back, and which images stand out.",
        {
            "data": audit_data.data,
            "membership": membership.membership,
            "memorisation": memorisation.memorisation,
        },
    ),
    "bank": (
        "Banks: models that are retrained on recorded subsets of the training data, and measured. Attributions are "
        "evaluated against them.",
        {"build": TOGETHER["bank build"], "show": bank_show.show},
    ),
    "evaluate": (
        "How far an attribution can be believed: measured against counterfactuals, with controls and intervals.",
        {
            "ceiling": ground_truth.ceiling,
            "calibration": lds.calibration,
            "deletion": deletion.deletion,
            "deterministic": lds.deterministic,
            "false-attribution": false_attribution.false_attribution,
            "landscape": ground_truth.landscape,
            "lds": lds.lds,
            "outliers": ranking.outliers,
            "repeatability": ranking.repeatability,
            "retrieval": ranking.retrieval,
            "smoothness": smoothness.smoothness,
            "specificity": ranking.specificity,
        },
    ),
    "credit": (
        "Credit: what a model does, shared out among the contributors to its training data.",
        {
            "why-not": credit.why_not,
            "audit": credit.audit,
            "compute": TOGETHER["credit compute"],
            "statement": credit.statement,
            "ingredients": credit_ingredients.ingredients,
        },
    ),
}


def _group(text: str, commands: Commands, **settings: Any) -> typer.Typer:
    """Return a group of commands, with its help."""
    settings = {"add_completion": False, "no_args_is_help": True, "rich_markup_mode": "markdown", **settings}
    group = typer.Typer(help=text, **settings)
    for name, command in commands.items():
        group.command(name)(command)
    return group


app = _group(
    "Training data attribution for diffusion models: which training images is a picture made of, and what "
    "would have been drawn without them.",
    COMMANDS,
    pretty_exceptions_enable=False,
    add_completion=True,
)
for name, group in GROUPS.items():
    app.add_typer(_group(*group), name=name)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"whence {version('whence')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    pass


@functools.cache
def command_line() -> Callable[..., Any]:
    """Return what runs the words of `sys.argv`, or those it is called with; all commands are made of functions once."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line. An error that the user can act on is printed as one message, without a traceback."""
    protect_output()
    try:
        command_line()()
    except WhenceError as error:
        _end(f"Error: {error}", 1)
    except OSError as error:
        place = error.filename2 or error.filename or "a file"
        _end(f"Error: {place}: {error.strerror or error}. What was finished is kept.", 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _end(_memory_message(str(error)), 1)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        _end("Interrupted. What was finished is kept: the same command continues.", INTERRUPTED)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is short; PyTorch has errors of its own for the CPU and for a GPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(text in str(error) for text in SHORT)
    )


def _memory_message(text: str) -> str:
    """What to print where memory is short, from what PyTorch says."""
    asked = re.search(r"allocate (\d+) bytes", text)
    told = f"{size(int(asked[1]))} more were asked for" if asked else "no more can be had"
    plan = "" if "--plan" in sys.argv else "What was finished is kept. --plan says what a command needs. "
    return f"Error: the memory is not enough: {told}. {plan}{MORE_MEMORY}"


def _end(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
