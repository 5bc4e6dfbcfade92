import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest
import torch

from whence.engine import Engine, Task, cores, one_thread
from whence.engine.failures import raise_failures
from whence.engine.processes import run_in_processes
from whence.errors import DataError, InterruptedRunError, NotFiniteError, WhenceError

SCRIPT = Path(__file__).parent / "tasks.py"
POISONED = """poison: DataError: 2 of 8 pieces of work failed. The others are done and kept: the same command goes on.
  bad 0: 0.png can't be read.
  bad 1: 1.png can't be read.
"""


#: Scenarios of `tasks.py` that one process runs one after the other, because importing torch takes seconds.
TOGETHER = ("marks", "settings", "devices", "poison", "apart", "error", "death")


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of some scenarios, and what they printed."""
    folder = tmp_path_factory.mktemp("scenarios")
    command = [sys.executable, str(SCRIPT), str(folder), *TOGETHER]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def children_of(pid: int) -> list[psutil.Process]:
    """The worker processes and the server that forks them, without Python's resource tracker."""
    return [p for p in psutil.Process(pid).children(recursive=True) if "resource_tracker" not in str(p.cmdline())]


def at_work(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_tasks_run_in_order_in_this_process():
    done: list[int] = []

    def work(k, engine):
        done.append(k)
        engine.report(1, 1)

    Engine(1).run([Task(f"{k}", work, {"k": k}) for k in (3, 1, 2)])
    assert done == [3, 1, 2]


def test_reports_add_up_over_tasks():
    seen: list[tuple[int, int]] = []

    def work(size, engine):
        for k in range(size):
            engine.report(k + 1, size)

    sizes = (2, 3, 1)
    tasks = [Task(f"{k}", work, {"size": size}, size) for k, size in enumerate(sizes)]
    Engine(1, lambda *progress: seen.append(progress)).run(tasks)
    assert seen == [(k + 1, 6) for k in range(6)]


def bad(text, engine):
    raise DataError(text)


def test_an_error_of_whence_propagates_as_itself_after_the_rest():
    done: list[str] = []

    def good(engine):
        done.append("good")

    with pytest.raises(DataError, match="^as it was$"):
        Engine(1).run([Task("a", good), Task("b", bad, {"text": "as it was"}), Task("c", good)])
    assert done == ["good", "good"]


def test_any_other_error_stops_the_rest():
    def full(engine):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Engine(1).run([Task("a", full), Task("b", bad, {"text": "never"})])


def test_errors_of_several_tasks_are_raised_together_with_the_names_of_the_tasks():
    texts = {"a": "1.png is damaged.", "b": "2.png is damaged.", "c": "1.png is damaged."}
    with pytest.raises(DataError, match=r"^3 of 3 pieces of work failed.*\n  a, c: 1.png .*\n  b: 2.png is damaged.$"):
        Engine(1).run([Task(name, bad, {"text": text}) for name, text in texts.items()])


def test_errors_of_several_classes_are_a_whence_error():
    with pytest.raises(WhenceError) as raised:
        raise_failures({"a": DataError("one"), "b": NotFiniteError("two")}, 3)
    assert type(raised.value) is WhenceError


def test_no_tasks():
    Engine(2).run([])


def test_tasks_compute_with_one_thread_and_the_settings_come_back():
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    memory = torch.utils.deterministic
    seen: list[tuple[int, bool, bool]] = []

    def work(engine):
        deterministic = torch.are_deterministic_algorithms_enabled()
        seen.append((torch.get_num_threads(), deterministic, memory.fill_uninitialized_memory))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Engine(1).run([Task("a", work)])
    assert seen == [(1, True, False)]
    assert torch.get_num_threads() == 2
    assert memory.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    with one_thread():
        assert torch.are_deterministic_algorithms_enabled()


def test_workers_take_the_devices_in_turn(ended):
    assert sorted(file.read_text() for file in (ended[0] / "devices").iterdir()) == ["cpu", "cpu", "meta", "meta"]


def test_a_process_for_each_core_of_a_processor():
    assert Engine(accelerator="cpu").processes(1000) == cores()
    assert Engine(accelerator="cuda:1").processes(1000) == 1
    assert Engine(3, accelerator="cuda:1").processes(1000) == 3


def test_cores_of_this_process():
    assert 1 <= cores() <= os.cpu_count()


def test_processes_do_all_tasks(ended):
    folder, printed = ended
    assert "marks: well (6, 6)\n" in printed
    files = sorted((folder / "marks").iterdir())
    assert [file.name for file in files] == list("012345")
    workers = {file.read_text().split()[1] for file in files}
    assert 1 <= len(workers) <= 2
    assert str(os.getpid()) not in workers


def test_workers_compute_with_one_thread(ended):
    assert [file.read_text() for file in (ended[0] / "settings").iterdir()] == ["1 True", "1 True"]


def test_an_error_in_a_worker_propagates_as_itself_and_ends_the_others(ended):
    """The other worker reports all the time: ending it in the middle of that must not block the end."""
    assert "error: OSError: [Errno 28] No space left on device\n" in ended[1]


def test_poisoned_tasks_in_workers_leave_the_others_done_and_are_reported_together(ended):
    folder, printed = ended
    assert POISONED in printed
    assert sorted(file.name for file in (folder / "poison").iterdir()) == list("012345")


def test_a_killed_worker_is_an_interrupted_run(ended):
    assert "death: InterruptedRunError: A worker process was killed or ran out of memory" in ended[1]
    assert "run the same command again to continue, with fewer --workers" in ended[1]


def test_a_task_apart_returns_its_result_from_another_process_whose_peak_is_its_own(ended):
    """It filled 3e8 bytes."""
    assert "apart: True, 3\n" in ended[1]


def test_a_worker_that_dies_before_all_tasks_are_given_is_told(monkeypatch):
    def broken(*_):
        raise BrokenProcessPool("A child process terminated abruptly")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", broken)
    with pytest.raises(InterruptedRunError, match=r"killed or ran out of memory \(around first\)"):
        run_in_processes([("first", print), ("second", print)], 2, lambda *_: None)


@pytest.mark.parametrize("scenario", [pytest.param("busy", marks=pytest.mark.slow), "idle"])
def test_workers_end_when_their_parent_is_killed(tmp_path, start, wait_until, scenario):
    """Where it is idle, one of two workers is at work, the other waits for a task that will never come."""
    names = {"busy": ("hold", "also"), "idle": ("hold", "0", "1")}[scenario]
    process = start(SCRIPT, tmp_path, scenario)
    wait_until(lambda: all((tmp_path / scenario / name).exists() for name in names))
    workers = children_of(process.pid)
    assert len(workers) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(at_work, workers)), 15)
