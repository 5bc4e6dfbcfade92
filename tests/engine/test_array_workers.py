"""Array workers: one, two at once, one that fails, one after a lost leader; eight in `test_many_workers.py`."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from whence import artefacts
from whence.engine import Engine, Task, task_json
from whence.engine.array_workers import ArrayWorkers, work_together
from whence.engine.work_folder import Command, WorkFolder
from whence.errors import ConfigError, DataError, InterruptedRunError

COMMAND = Command.of(["attribute"])


def mark(file, engine):
    """Write a file."""
    with Path(file).open("a") as stream:
        stream.write("done\n")


def meet(file, other, engine):
    """Write a file, and wait for that of a task in the hand of another worker."""
    Path(file).touch()
    end = time.monotonic() + 30
    while not Path(other).exists():
        assert time.monotonic() < end, "nobody else works"
        time.sleep(0.01)


def poison(picture, engine):
    """Fail as a task with a bad picture does."""
    raise DataError(f"{picture} can't be read.")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> WorkFolder:
    monkeypatch.setattr(task_json, "PACKAGES", ("whence", __name__.partition(".")[0]))
    monkeypatch.chdir(tmp_path)
    return WorkFolder.of(Path("out"))


def marks(count: int) -> list[Task]:
    return [Task(f"mark {k}", mark, {"file": Path(f"{k}.txt")}) for k in range(count)]


def work(folder: WorkFolder, tasks: list[Task], shard=(1, 1), seen=None) -> bool:
    """Be a worker of a command that consists of some tasks."""
    workers = ArrayWorkers(folder, shard)
    report = (lambda *progress: seen.append(progress)) if seen is not None else (lambda *progress: None)
    return work_together(workers, COMMAND, lambda: Engine(report=report, executor=workers).run(tasks))


def test_one_worker_does_each_task_once_and_leaves_no_folder(folder, tmp_path):
    seen: list[tuple[int, int]] = []
    assert work(folder, marks(5), seen=seen)
    assert [(tmp_path / f"{k}.txt").read_text() for k in range(5)] == ["done\n"] * 5
    assert seen[-1] == (5, 5)
    assert not folder.path.exists()


def test_a_worker_begins_with_its_shard(folder):
    order: list[str] = []
    workers = ArrayWorkers(folder, (2, 3))
    with folder.lead():
        folder.begin(COMMAND)
        workers.run(marks(6), None, lambda name, _: order.append(name))
    assert order == [f"mark {k}" for k in (2, 3, 4, 5, 0, 1)]


def test_two_workers_work_at_once_and_one_of_them_leads(folder, tmp_path):
    places = [{"file": Path(f"{a}.txt"), "other": Path(f"{b}.txt")} for a, b in ("ab", "ba")]
    tasks = [Task(str(k), meet, place) for k, place in enumerate(places)]
    led: list[bool] = []
    both = [threading.Thread(target=lambda: led.append(work(folder, tasks))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert sorted(led) == [False, True]


def test_errors_are_reported_together_to_all_workers_and_the_next_call_goes_on(folder, tmp_path):
    bad = [Task(name, poison, {"picture": f"{name}.png"}) for name in ("a", "b")]
    text = r"2 of 5 pieces of work failed(.|\n)*a.png can't be read.\n  b: b.png can't be read."
    with folder.lead():
        folder.begin(COMMAND)
        other: list[Exception] = []

        def join() -> None:
            try:
                work(folder, marks(3))
            except InterruptedRunError as error:
                other.append(error)

        helper = threading.Thread(target=join)
        helper.start()
        time.sleep(0.5)
        with pytest.raises(DataError, match=text) as raised:
            Engine(executor=ArrayWorkers(folder)).run([*bad, *marks(3)])
        folder.fail(raised.value)
    helper.join(60)
    assert str(other[0]) == str(raised.value)
    assert [(tmp_path / f"{k}.txt").read_text() for k in range(3)] == ["done\n"] * 3
    assert folder.command == COMMAND
    assert work(folder, marks(4))
    assert (tmp_path / "3.txt").exists()


def test_tasks_of_a_lost_leader_are_done_before_another_leads(folder, tmp_path):
    with folder.lead():
        folder.begin(COMMAND)
        with folder.listed(marks(2)):
            listed = (folder.path / "tasks.jsonl").read_bytes()
    artefacts.write_bytes(folder.path / "tasks.jsonl", listed)
    assert work(folder, [])
    assert [(tmp_path / f"{k}.txt").read_text() for k in range(2)] == ["done\n"] * 2


def test_a_new_leader_waits_for_a_task_in_hand(folder):
    """The worker that has it was listed to under a leader that was lost; another command comes."""
    with folder.lead():
        folder.begin(COMMAND)
        with folder.listed(marks(2)) as listed, folder.take(listed, listed.lines[0]) as mine:
            assert mine
            (folder.path / "tasks.jsonl").unlink()
            begun = threading.Event()
            leader = threading.Thread(target=lambda: (folder.begin(COMMAND), begun.set()))
            leader.start()
            assert not begun.wait(0.5)
    assert begun.wait(10)
    leader.join()


def test_another_command_for_the_same_folder_is_refused_while_the_first_is_at_work(folder):
    with folder.lead():
        folder.begin(Command.of(["ensemble", "train"]))
        with pytest.raises(ConfigError, match="another command, which is at work: whence ensemble train"):
            work(folder, marks(1))
    assert work(folder, marks(1)), "nobody is at work any more"
