"""Array workers: any number of processes, on machines that share a file system, do the tasks of one command together.

There is no coordinator: every worker is given the same command, or joins it by `whence work OUT`. `work_folder` says
how they meet. A worker may be killed and may start late.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from whence.engine.engine import Report, Task, run_task, silent
from whence.engine.processes import Note
from whence.engine.work_folder import Command, TaskLine, TaskList, WorkFolder
from whence.errors import ConfigError, InterruptedRunError, WhenceError

#: Seconds between two looks at what others do.
PAUSE = 0.2


@dataclass(frozen=True)
class ArrayWorkers:
    """Runs tasks with all workers that meet in a folder.

    Attributes:
        folder: Where they meet.
        shard: (i, n): this worker begins with the tasks of the i-th of n parts, and goes on with what others left.
    """

    folder: WorkFolder
    shard: tuple[int, int] = (1, 1)

    def run(self, tasks: Sequence[Task], accelerator: str | None, note: Note) -> dict[str, WhenceError]:
        """List the tasks, do them with the others until all are done, and return the errors by task name."""
        with self.folder.listed(tasks) as listed:
            self._work_off(listed, accelerator, note)
            errors = {line.task.name: self.folder.error(line) for line in listed.lines}
        return {name: error for name, error in errors.items() if error is not None}

    def help(self, report: Report) -> None:
        """Do the tasks that are listed now, until all are done; the report is called with (tasks done, tasks)."""
        listed = self.folder.task_list()
        if listed is not None:
            done: set[str] = set()

            def note(name: str, amount: int) -> None:
                done.add(name)
                report(len(done), len(listed.lines))

            os.chdir(listed.folder)
            self._work_off(listed, None, note)

    def _work_off(self, tasks: TaskList, accelerator: str | None, note: Note) -> None:
        """Do tasks until all are done, by this worker or others, or until the list is withdrawn."""
        left = list(self._ordered(tasks.lines))
        while left and self.folder.is_current(tasks):
            before = len(left)
            left = [line for line in left if not self._do(tasks, line, accelerator, note)]
            if len(left) == before:
                time.sleep(PAUSE)

    def _ordered(self, lines: Sequence[TaskLine]) -> Iterator[TaskLine]:
        """Yield the tasks from the shard of this worker on, round and round."""
        first = (self.shard[0] - 1) * len(lines) // self.shard[1]
        yield from (*lines[first:], *lines[:first])

    def _do(self, tasks: TaskList, line: TaskLine, accelerator: str | None, note: Note) -> bool:
        """Do a task unless it is done or another worker has it in hand; return whether it is done."""
        with self.folder.take(tasks, line) as mine:
            if mine:
                self.folder.finish(line, run_task(line.task, accelerator, note))
        done = self.folder.is_done(line)
        if done:
            note(line.task.name, line.task.size)
        return done


@contextmanager
def silently() -> Iterator[Report]:
    """Yield a report that goes nowhere."""
    yield silent


def work_together(
    workers: ArrayWorkers,
    command: Command,
    lead: Callable[[], None],
    progress: Callable[[], AbstractContextManager[Report]] = silently,
) -> bool:
    """Do a command with all workers of its folder: lead it by calling `lead`, or help, or both in turn.

    Args:
        workers: This worker.
        command: The command, the same for all.
        lead: Runs the command in this process.
        progress: Opens a report, which is called with (tasks done, tasks) while this worker helps.

    Returns:
        Whether this worker led to the end; else another did.

    Raises:
        WhenceError: The command failed.
        InterruptedRunError: The command failed under another leader, whose message it has.
        ConfigError: Workers do another command in this folder now.
    """
    folder = workers.folder
    before, joined = folder.failure.get("id"), False
    while True:
        if folder.command == command:
            joined = True
            with progress() as report:
                workers.help(report)
        with folder.lead() as leads:
            if leads:
                if joined and folder.command is None:
                    return False
                failure = folder.failure
                if failure and failure["id"] != before:
                    raise InterruptedRunError(failure["text"])
                with _recorded(folder, command):
                    lead()
                return True
        _require_same(folder, command)
        time.sleep(PAUSE)


@contextmanager
def _recorded(folder: WorkFolder, command: Command) -> Iterator[None]:
    """Record the command while the block runs it, and how that ended."""
    folder.begin(command)
    try:
        yield
    except WhenceError as error:
        folder.fail(error)
        raise
    folder.end()


def _require_same(folder: WorkFolder, command: Command) -> None:
    """Raise ConfigError where another leads another command in this folder."""
    other = folder.command
    if other is not None and other != command:
        raise ConfigError(
            f"{folder.path} is of another command, which is at work: whence {' '.join(other.arguments)} (in "
            f"{other.folder}, by Whence {other.version}). Join it with `whence work`, or give another folder for "
            "results."
        )
