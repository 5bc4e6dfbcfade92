"""Where the work of a command runs: the options --engine and --address, and the command `whence work`."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli.options import ADDRESS, ENGINE, shard_of
from whence.cli.show import EXECUTOR, progress, say
from whence.errors import ArtefactError, ConfigError

if TYPE_CHECKING:
    from whence.engine import Executor
    from whence.engine.work_folder import Command

#: The command that `whence work` joins, and the shard of this worker.
JOINED: ContextVar[tuple[Command, tuple[int, int]] | None] = ContextVar("joined", default=None)
#: The options, with their defaults.
OPTIONS: Mapping[str, tuple[Any, str | None]] = {"engine": (ENGINE, "local"), "address": (ADDRESS, None)}


def on_engines(command: Callable[..., None], out: str) -> Callable[..., None]:
    """Return a command with the options --engine and --address; `out` is the parameter that names what it writes."""
    signature = inspect.signature(command, eval_str=True)

    @wraps(command)
    def start(*, engine: str, address: str | None, **given: Any) -> None:
        run, workers = partial(command, **given), given["workers"]
        if address is not None and engine != "ray":
            raise ConfigError("--address is of a Ray cluster: add --engine ray, or leave it out.")
        if engine == "array" and workers is not None:
            raise ConfigError(
                "With --engine array each worker is one process, and you start as many as you like. Leave out "
                "--workers."
            )
        if given["plan"] or engine == "local":
            run()
        elif engine == "ray":
            from whence.engine.ray_executor import Ray

            with _executing(Ray(address, workers)):
                run()
        else:
            _work(given[out], run)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    for name, (annotation, default) in OPTIONS.items():
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    start.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    start.__annotations__ = {one.name: one.annotation for one in parameters}
    return start


@contextmanager
def _executing(executor: Executor) -> Iterator[None]:
    """Let the engines of a command have an executor."""
    token = EXECUTOR.set(executor)
    try:
        yield
    finally:
        EXECUTOR.reset(token)


def _work(out: Path, run: Callable[[], None]) -> None:
    """Be one of the workers that run a command together."""
    from whence.engine.array_workers import ArrayWorkers, work_together
    from whence.engine.work_folder import Command, WorkFolder

    command, shard = JOINED.get() or (Command.of(sys.argv[1:]), (1, 1))
    workers = ArrayWorkers(WorkFolder.of(out), shard)
    with _executing(workers):
        led = work_together(workers, command, run, partial(progress, "helping"))
    if not led:
        say(f"{out} is done; another worker put it together.")


def work(
    out: Annotated[Path, typer.Argument(help="What a command with --engine array writes: its OUT or RUN.")],
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: begin with the I-th of N parts of the work, such as 3/64.", metavar="I/N"),
    ] = None,
) -> None:
    """Help with what OUT is waiting for: the command with --engine array that was given for it, here or elsewhere.

    Any number of workers on a shared file system do one command together: attribute, ensemble train, ensemble
    landscape, bank build or credit compute. They need no coordinator, may be killed and may start late. Each takes
    what no other has in hand, beginning with its shard, and the end has the same bytes as by one process. The command
    line that is run stands in OUT.work/command.json, so help only with what you would run yourself.

    Example: `whence work scores/ --shard 3/64`
    """
    from whence.engine.work_folder import Command, WorkFolder

    part, folder = shard_of(shard), WorkFolder.of(out)
    command = folder.command
    if command is None:
        raise ArtefactError(
            f"{out} is waiting for nothing: {folder.path} has no command. Give the command that makes it, with "
            "--engine array."
        )
    here = Command.of(())
    if command.version != here.version:
        raise ArtefactError(
            f"{out} is waiting for Whence {command.version}; this is {here.version}. Install the same version."
        )
    say(f"Helping with: whence {shlex.join(command.arguments)} (in {command.folder})")
    _run(command, part)


def _run(command: Command, shard: tuple[int, int]) -> None:
    """Run a recorded command in this process, in its folder."""
    from whence.cli.app import TOGETHER, command_line

    if not any(" ".join(command.arguments).startswith(f"{name} ") for name in TOGETHER):
        raise ArtefactError(f"The recorded command is none of {', '.join(TOGETHER)}. Give it again.")
    os.chdir(command.folder)
    token = JOINED.set((command, shard))
    try:
        code = command_line()(list(command.arguments), standalone_mode=False)
    finally:
        JOINED.reset(token)
    if code:
        raise typer.Exit(code)
