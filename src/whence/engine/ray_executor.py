"""Ray: tasks run on the CPUs and GPUs of a Ray cluster, or of a Ray that is started on this machine.

A task has one CPU, and one GPU where the cluster has any. Ray starts a task again, up to `RETRIES` times, when its
worker or its node is lost. Every machine has the same Whence, and the same files under the same paths.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whence.engine.engine import Task, run_task
from whence.engine.processes import Note
from whence.errors import ConfigError, InterruptedRunError, WhenceError
from whence.lazy import ray

#: How often a task is started again after the loss of its worker or node.
RETRIES = 5
#: Seconds between two looks at what is done, and between two notes of a task.
PAUSE = 0.5
#: Bytes of the store of a Ray that is started here: tasks are small, and their results are files.
STORE = 100 * 2**20


@dataclass(frozen=True)
class Ray:
    """Runs tasks by Ray.

    Attributes:
        address: Address of a running cluster, such as ``auto`` on one of its machines; None starts a Ray on this
            machine, which ends with this process.
        workers: CPUs of a Ray that is started here; None for all.

    Raises:
        ConfigError: Ray is not installed, can't be reached, or a number of workers is given with an address.
    """

    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.address is not None and self.workers is not None:
            raise ConfigError(
                f"The cluster at {self.address} has the workers that it has. Leave out --workers, or the --address to "
                "start a Ray with so many on this machine."
            )

    def run(self, tasks: Sequence[Task], accelerator: str | None, note: Note) -> dict[str, WhenceError]:
        """Run all tasks, and call `note` with (name, amount done) as they go on.

        Returns:
            The errors by task name.

        Raises:
            InterruptedRunError: A task lost its worker or node again and again.
        """
        self._connect()
        needs = {"num_cpus": 1, "num_gpus": min(1, ray.cluster_resources().get("GPU", 0)), "max_retries": RETRIES}
        do, progress = ray.remote(**needs)(_do), _start_progress()
        pending = {do.remote(task, accelerator, Path.cwd(), progress): task for task in tasks}
        failures: dict[str, WhenceError] = {}
        try:
            while pending:
                ended, _ = ray.wait(list(pending), num_returns=len(pending), timeout=PAUSE)
                for name, amount in _read_progress(progress):
                    note(name, amount)
                for one in ended:
                    task = pending.pop(one)
                    error = _result(one, task)
                    if error is not None:
                        failures[task.name] = error
                    note(task.name, task.size)
        finally:
            for one in pending:
                ray.cancel(one, force=True)
            ray.kill(progress)
        return failures

    def _connect(self) -> None:
        """Connect this process to Ray, unless it is."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            if ray.is_initialized():
                return
            quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
            if self.address is None:
                ray.init("local", num_cpus=self.workers, object_store_memory=STORE, **quiet)
            else:
                ray.init(self.address, log_to_driver=False, logging_level="error")
        except ModuleNotFoundError:
            raise ConfigError("Ray is not installed: pip install 'whence[ray]', on every machine.") from None
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f"There is no Ray at the address {self.address}: {error} Start one with `ray start`, or leave out "
                "--address to start one on this machine."
            ) from None


def _do(task: Task, accelerator: str | None, folder: Path, progress: Any) -> WhenceError | None:
    """Run a task in a worker of Ray, in the working folder of the command."""
    os.chdir(folder)
    last = time.monotonic()

    def note(name: str, amount: int) -> None:
        nonlocal last
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            progress.add.remote(name, amount)

    return run_task(task, accelerator, note)


class _Progress:
    """What the tasks say of how far they are, since it was last read."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}

    def add(self, name: str, amount: int) -> None:
        """Note how much of a task is done."""
        self._done[name] = amount

    def take(self) -> list[tuple[str, int]]:
        """Return what was noted, and forget it."""
        done, self._done = self._done, {}
        return list(done.items())


def _start_progress() -> Any:
    """Start the progress beside this process, so that the loss of another node doesn't end it."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Progress).remote()


def _read_progress(progress: Any) -> list[tuple[str, int]]:
    """Return what is new of the progress; nothing where it can't be had now."""
    try:
        new: list[tuple[str, int]] = ray.get(progress.take.remote(), timeout=PAUSE)
    except ray.exceptions.RayError:
        return []
    return new


def _result(one: Any, task: Task) -> WhenceError | None:
    """Return the error of a task that ended, or raise what is no `WhenceError` as itself."""
    try:
        error: WhenceError | None = ray.get(one)
    except ray.exceptions.RayTaskError as failed:
        raise failed.cause from None
    except ray.exceptions.RayError as lost:
        raise InterruptedRunError(
            f"{task.name} lost its worker {RETRIES + 1} times ({type(lost).__name__}), perhaps for lack of memory. "
            "What was finished is kept: run the same command again to continue."
        ) from None
    return error
