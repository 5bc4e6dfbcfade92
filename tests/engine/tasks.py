"""Tasks that a worker process can import, and runs of them: python tasks.py FOLDER SCENARIO... [ray].

Every scenario has a folder of its name, and prints its name and how it ended.
"""

import os
import signal
import sys
import time
from pathlib import Path


def mark(file, text="done", engine=None):
    """Write a file that says which process did it."""
    time.sleep(0.05)
    Path(file).write_text(f"{text} {os.getpid()}")
    engine.report(1, 1)


def poison(picture, engine=None):
    from whence.errors import DataError

    engine.report(1, 2)
    raise DataError(f"{picture} can't be read.")


def fail(engine=None):
    engine.report(1, 2)
    raise OSError(28, "No space left on device")


def die_once(file, engine=None):
    """Be killed at the first call, and write a file at the second."""
    if not Path(file).exists():
        Path(file).write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    Path(file).write_text("done")


def die(engine=None):
    os.kill(os.getpid(), signal.SIGKILL)


def chatter(engine=None):
    """Report without end."""
    done = 0
    while True:
        done += 1
        engine.report(done, 10**9)


def wait_long(file, engine=None):
    """Say who this is, then be busy without reporting for a long time."""
    Path(file).write_text(str(os.getpid()))
    for k in range(6000):
        time.sleep(0.1)
        if k % 10 == 0:
            engine.report(k, 6000)


def settings(file, engine=None):
    import torch

    Path(file).write_text(f"{torch.get_num_threads()} {torch.are_deterministic_algorithms_enabled()}")
    engine.report(1, 1)


def place(file, engine=None):
    """Write the device of networks, and be busy so long that the other worker starts."""
    time.sleep(0.5)
    Path(file).write_text(str(engine.device))
    engine.report(1, 1)


def fill(size, engine=None):
    """Fill so many bytes, forget them, and return who this is and its most memory."""
    import torch

    from whence.cost import ProcessMemory

    before = ProcessMemory.now()
    torch.ones(size, dtype=torch.uint8)
    return os.getpid(), before, ProcessMemory.peak()


def main() -> None:
    from whence.engine.ray_executor import Ray

    sys.path.insert(0, str(Path(__file__).parent))
    folder, *scenarios = sys.argv[1:]
    executor = Ray(workers=2) if scenarios[-1:] == ["ray"] else None
    for scenario in scenarios[: -1 if executor else None]:
        own = Path(folder) / scenario
        own.mkdir()
        print(f"{scenario}: {run(scenario, own, executor)}", flush=True)


def run(scenario: str, folder: Path, executor) -> str:
    """Run the tasks of a scenario, and say how they ended."""
    import tasks

    from whence.engine import Engine, Task
    from whence.errors import WhenceError

    if scenario == "apart":
        worker, before, peak = Engine(2).run_apart(Task("fill", tasks.fill, {"size": 3 * 10**8}))
        return f"{worker != os.getpid()}, {round((peak.total - before.total) / 10**8)}"
    some = [Task(f"mark {k}", tasks.mark, {"file": str(folder / f"{k}")}) for k in range(6)]
    hold = Task("hold", tasks.wait_long, {"file": str(folder / "hold")}, 6000)
    work = {
        "marks": some,
        "devices": [Task(f"{k}", tasks.place, {"file": str(folder / f"{k}")}) for k in range(4)],
        "poison": [Task(f"bad {k}", tasks.poison, {"picture": f"{k}.png"}, 2) for k in range(2)] + some,
        "error": [Task("fail", tasks.fail, size=2), Task("chatter", tasks.chatter)],
        "loss": [Task("die once", tasks.die_once, {"file": str(folder / "lost")}), *some],
        "death": [Task("die", tasks.die), Task("chatter", tasks.chatter)],
        "busy": [hold, Task("also", tasks.wait_long, {"file": str(folder / "also")}, 6000)],
        "idle": [hold, *some[:2]],
        "settings": [Task(f"s{k}", tasks.settings, {"file": str(folder / f"{k}")}) for k in range(2)],
    }[scenario]
    seen = []
    engine = Engine(2, lambda done, total: seen.append((done, total)), executor=executor)
    if scenario == "devices":
        vars(engine)["devices"] = ("cpu", "meta")
    try:
        engine.run(work)
    except (WhenceError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    assert seen == sorted(seen)
    return f"well {seen[-1]}"


if __name__ == "__main__":
    main()
