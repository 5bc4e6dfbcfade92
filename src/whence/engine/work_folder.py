"""The folder OUT.work, beside the OUT of a command, where its workers on a shared file system meet.

OUT.work/command.json     what OUT is waiting for: the command line, the folder it was given in, the version of Whence
OUT.work/ended.json       how the last try of the command failed
OUT.work/tasks.jsonl      the tasks that are to be done now: id and working folder of the list, then a task in each line
OUT.work/tasks/KEY.done   a task that is done; KEY.failed has its error, and .KEY.lock is held by who does it

One worker leads: it holds the lock of OUT.work, runs the command, and lists its tasks. All workers, the leader among
them, do them, each under a lock of its own. When the leader is killed, its lock is freed and another worker leads: it
runs the command again, which continues. So only the leader writes what is not of a task, and the bytes are those of one
process. A task that was begun under a lost leader is waited for.

What is assumed of the file system: file locks that hold between machines and go with their process (flock; NFS from
version 4 on, Lustre with -o flock), and names and files that are seen by all machines once they are written.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from whence import artefacts, errors
from whence.engine.engine import Task
from whence.engine.task_json import read_task, write_task
from whence.errors import ArtefactError, WhenceError


@dataclass(frozen=True)
class Command:
    """A command that array workers run together.

    Attributes:
        arguments: The arguments of `whence`.
        folder: The folder that it was given in.
        version: The version of Whence.
    """

    arguments: tuple[str, ...]
    folder: str
    version: str

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Command:
        """Return the command of these arguments in this folder."""
        return cls(tuple(arguments), str(Path.cwd()), version("whence"))


@dataclass(frozen=True)
class TaskLine:
    """A task in the list, and the key that its files are named by."""

    text: str

    @cached_property
    def key(self) -> str:
        """The key, a function of all that the task is."""
        return artefacts.digest(self.text)[:24]

    @cached_property
    def task(self) -> Task:
        """The task."""
        return read_task(json.loads(self.text))


@dataclass(frozen=True)
class TaskList:
    """The tasks that are to be done now.

    Attributes:
        id: Of this list alone.
        folder: The folder that relative paths start from.
        lines: The tasks.
    """

    id: str
    folder: str
    lines: tuple[TaskLine, ...]


@dataclass(frozen=True)
class WorkFolder:
    """The folder at `path`; see the module."""

    path: Path

    @classmethod
    def of(cls, out: Path) -> WorkFolder:
        """Return the folder beside what a command writes."""
        whole = out.resolve()
        return cls(whole.with_name(f"{whole.name}.work"))

    @property
    def command(self) -> Command | None:
        """What OUT is waiting for; None for nothing.

        Raises:
            ArtefactError: The file is damaged.
        """
        try:
            values = artefacts.read_json(self.path / "command.json")
            return Command(**values | {"arguments": tuple(values["arguments"])})
        except (TypeError, KeyError):
            raise ArtefactError(f"{self.path} is damaged. Delete it and give the command again.") from None
        except ArtefactError:
            if (self.path / "command.json").exists():
                raise
            return None

    @property
    def failure(self) -> dict[str, str]:
        """The id and the text of the last failure; nothing where there was none."""
        file = self.path / "ended.json"
        return artefacts.read_json(file) if file.exists() else {}

    def lead(self) -> AbstractContextManager[bool]:
        """Yield whether this process leads now: nobody else does until the block ends."""
        return artefacts.lock_if_free(self.path)

    def begin(self, command: Command) -> None:
        """Record the command that this process leads; first wait for tasks in hand under a leader that was lost."""
        (self.path / "tasks.jsonl").unlink(missing_ok=True)
        self._clear()
        (self.path / "ended.json").unlink(missing_ok=True)
        artefacts.write_json(self.path / "command.json", asdict(command))

    def end(self) -> None:
        """Remove the folder: the command came to its end."""
        (self.path / "command.json").unlink()
        artefacts.discard(self.path)

    def fail(self, error: WhenceError) -> None:
        """Record that the command failed, for the others."""
        artefacts.write_json(self.path / "ended.json", {"id": secrets.token_hex(8), "text": str(error)})

    @contextmanager
    def listed(self, tasks: Sequence[Task]) -> Iterator[TaskList]:
        """List tasks for all workers; the block is to end when all are done."""
        self._clear()
        lines = tuple(TaskLine(json.dumps(write_task(task))) for task in tasks)
        found = TaskList(secrets.token_hex(8), str(Path.cwd()), lines)
        (self.path / "tasks").mkdir(exist_ok=True)
        first = json.dumps({"id": found.id, "folder": found.folder})
        artefacts.write_bytes(self.path / "tasks.jsonl", "\n".join([first, *(line.text for line in lines)]).encode())
        try:
            yield found
        finally:
            (self.path / "tasks.jsonl").unlink(missing_ok=True)

    def _clear(self) -> None:
        """Forget which tasks are done, and first wait for those in hand. There is no list, so none is begun now."""
        for file in (self.path / "tasks").glob(".*.lock"):
            place = file.with_name(file.name[1:].removesuffix(".lock"))
            if not place.with_suffix(".done").exists():
                with artefacts.lock(place, math.inf):
                    pass
        artefacts.discard(self.path / "tasks")

    def task_list(self) -> TaskList | None:
        """Return the tasks that are to be done now; None where there are none."""
        try:
            first, *lines = (self.path / "tasks.jsonl").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return None
        return TaskList(**json.loads(first), lines=tuple(map(TaskLine, lines)))

    def is_current(self, tasks: TaskList) -> bool:
        """Return whether these tasks are still to be done."""
        try:
            with (self.path / "tasks.jsonl").open(encoding="utf-8") as stream:
                found: Any = json.loads(stream.readline())
        except FileNotFoundError:
            return False
        return bool(found["id"] == tasks.id)

    def is_done(self, line: TaskLine) -> bool:
        """Return whether a task is done, well or not."""
        return (self.path / "tasks" / f"{line.key}.done").exists()

    @contextmanager
    def take(self, tasks: TaskList, line: TaskLine) -> Iterator[bool]:
        """Yield whether a task is this process's to do: it is to be done, and nobody else does it."""
        place = self.path / "tasks" / line.key
        if self.is_done(line) or not place.parent.exists():
            yield False
            return
        with artefacts.lock_if_free(place) as free:
            yield free and self.is_current(tasks) and not self.is_done(line)

    def finish(self, line: TaskLine, error: WhenceError | None) -> None:
        """Record that a task is done, and with which error."""
        place = self.path / "tasks" / line.key
        if error is not None:
            artefacts.write_json(place.with_suffix(".failed"), {"class": type(error).__name__, "text": str(error)})
        place.with_suffix(".done").touch()

    def error(self, line: TaskLine) -> WhenceError | None:
        """Return the error of a task that is done; None where it ended well."""
        file = self.path / "tasks" / f"{line.key}.failed"
        if not file.exists():
            return None
        found = artefacts.read_json(file)
        class_ = getattr(errors, found["class"], WhenceError)
        known = isinstance(class_, type) and issubclass(class_, WhenceError)
        return (class_ if known else WhenceError)(found["text"])
