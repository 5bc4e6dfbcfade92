"""The engine: where tasks run and networks compute, and who is told how far they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Protocol

from whence.engine.failures import raise_failures
from whence.engine.processes import Note, one_thread, return_freed_memory, run_in_processes, worker_device
from whence.errors import WhenceError
from whence.lazy import torch

#: Called with (done, total) as work goes on.
Report = Callable[[int, int], None]


def silent(_done: int, _total: int) -> None:
    """A report that goes nowhere."""


@dataclass(frozen=True)
class Task:
    """A piece of work, which makes an artefact on disk.

    Attributes:
        name: For messages; unique among the tasks of one run.
        function: A module-level function; called with `arguments` and ``engine=``, the engine inside the task.
        arguments: Small values that can be sent to another process.
        size: How much work it is, in the units that it reports.
    """

    name: str
    function: Callable[..., object]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    size: int = 1


class Executor(Protocol):
    """Runs tasks elsewhere than in processes of this machine: `Ray` and `ArrayWorkers`."""

    def run(self, tasks: Sequence[Task], accelerator: str | None, note: Note) -> Mapping[str, WhenceError]:
        """Run all tasks, call `note` with (name, amount done) as they go on, and return the errors by task name."""


@dataclass(frozen=True)
class Engine:
    """Where work runs.

    Attributes:
        workers: Processes; None for one for each core, or for each GPU if networks run on GPUs.
        report: Called with (done, total) as work goes on; each function says in which units.
        accelerator: Device of the networks, such as ``cuda:1``; None for the GPUs if there are any, of which each
            worker has one, else the CPU.
        executor: Runs the tasks; None for processes on this machine.

    Example:
        >>> def double(number, engine):
        ...     print(2 * number, engine.workers)
        >>> Engine(workers=1).run([Task("first", double, {"number": 1}), Task("second", double, {"number": 2})])
        2 1
        4 1
    """

    workers: int | None = None
    report: Report = silent
    accelerator: str | None = None
    executor: Executor | None = None

    @cached_property
    def device(self) -> torch.device:
        """Where networks of this process run."""
        return torch.device(self.accelerator or worker_device() or ("cuda" if torch.cuda.is_available() else "cpu"))

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """Devices that worker processes take in turn."""
        if self.accelerator is not None:
            return (self.accelerator,)
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) or ("cpu",)

    @property
    def unit(self) -> str:
        """What a process has to itself: ``core`` or ``GPU``."""
        return "core" if torch.device(self.devices[0]).type == "cpu" else "GPU"

    def processes(self, tasks: int) -> int:
        """Number of processes that so many tasks run in."""
        most = cores() if self.devices == ("cpu",) else len(self.devices)
        return max(1, min(self.workers or most, tasks))

    def reporting(self, report: Report) -> Engine:
        """The same engine with another report."""
        return replace(self, report=report)

    def here(self) -> Engine:
        """The same engine, whose tasks all run in this process."""
        return replace(self, workers=1, executor=None)

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks, started in their order; with one process or task, in this process.

        A task that fails with a `WhenceError`, such as one that meets a bad image, does not end the others: all errors
        are raised together at the end. Any other error ends all. The report is called with (done, total), summed over
        the tasks in their units.

        Raises:
            WhenceError: Tasks failed: the error of the one, or those of several together; see `raise_failures`.
            InterruptedRunError: A worker process died.
        """
        done = dict.fromkeys((task.name for task in tasks), 0)
        total = sum(task.size for task in tasks)

        def note(name: str, amount: int) -> None:
            done[name] = amount
            self.report(sum(done.values()), total)

        raise_failures(self._failures(tasks, note), len(tasks))

    def _failures(self, tasks: Sequence[Task], note: Note) -> Mapping[str, WhenceError]:
        """Run all tasks, and return the errors by task name."""
        if self.executor is not None and len(tasks) > 1:
            return self.executor.run(tasks, self.accelerator, note)
        processes = self.processes(len(tasks))
        works = [(task.name, partial(run_task, task, self.accelerator)) for task in tasks]
        if processes > 1:
            errors = run_in_processes(works, processes, note, self.devices)
        else:
            return_freed_memory()
            errors = [work(note) for _, work in works]
        return {name: error for (name, _), error in zip(works, errors, strict=True) if error is not None}

    def run_apart(self, task: Task) -> Any:
        """Return the result of a task's function, which runs in a worker process of its own.

        Raises:
            InterruptedRunError: The worker process died.
        """
        work = partial(_task_result, task, self.accelerator)
        report: Note = lambda _name, done: self.report(done, task.size)  # noqa: E731
        (result,) = run_in_processes([(task.name, work)], 1, report, self.devices)
        return result


def staged(engine: Engine, sizes: Sequence[int]) -> Iterator[Engine]:
    """Yield an engine for each stage of some work, of these sizes, whose report tells of the stages together.

    Example:
        >>> for stage in staged(Engine(report=print), [2, 3]):
        ...     stage.report(1, 1)
        1 5
        3 5
    """
    before, total = 0, sum(sizes)
    for size in sizes:
        yield engine.reporting(partial(_report_after, engine.report, before, total))
        before += size


def _report_after(report: Report, before: int, total: int, done: int, _: int) -> None:
    report(before + done, total)


def run_task(task: Task, accelerator: str | None, note: Note) -> WhenceError | None:
    """Run a task in this process, and return the error that it failed with, for a report with those of others."""
    try:
        _task_result(task, accelerator, note)
    except WhenceError as error:
        return error
    return None


def _task_result(task: Task, accelerator: str | None, note: Note) -> object:
    engine = Engine(1, lambda done, _total: note(task.name, done), accelerator)
    with one_thread():
        return task.function(**task.arguments, engine=engine)


#: All cores of this machine, silently.
DEFAULT = Engine()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
