"""Efficiency of workers against one process, in one run: processes, Ray, array workers; and the cost of an empty task.

python benchmarks/parallel.py                        # on a quiet machine; about a quarter of an hour on two cores
python benchmarks/parallel.py --steps 20             # a try

Members of an ensemble are trained one after another and by several workers, in turn. The efficiency is the time of one
process over the time of n workers and n. Processes and Ray first train a small ensemble, so that workers are warm; the
time of array workers has their start in it. An empty task is a member that is there already.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import write_figures

import whence
from whence.engine import Engine, Task
from whence.engine.ray_executor import Ray
from whence.ensemble.training import member_config, train_member

#: Tasks whose artefacts are there.
EMPTY = 40


def config(steps: int) -> whence.Config:
    """Settings of the members."""
    return whence.Config().updated("training", steps=steps)


def train(out: Path, members: int, steps: int, engine: Engine) -> float:
    """Seconds of training an ensemble."""
    digits, start = whence.load("digits"), time.perf_counter()
    whence.train_ensemble(digits, out, members=members, config=config(steps), engine=engine)
    return time.perf_counter() - start


def train_by_array(out: Path, members: int, steps: int, workers: int) -> float:
    """Seconds of training an ensemble by array workers, from their start on."""
    command = f"ensemble train digits --members {members} --steps {steps} --engine array --out {out}"
    line = [sys.executable, "-c", "from whence.cli.app import main; main()", *command.split()]
    start = time.perf_counter()
    for process in [subprocess.Popen(line) for _ in range(workers)]:
        if process.wait():
            raise SystemExit("An array worker failed.")
    return time.perf_counter() - start


def empty_task_seconds(out: Path, steps: int, engine: Engine) -> float:
    """Seconds of a task whose artefact is there, once workers are warm."""
    given = {"path": str(out), "member": 0, "config": member_config(config(steps), 0), "base": None}
    times = []
    for _ in range(2):
        start = time.perf_counter()
        engine.run([Task(f"empty {k}", train_member, given) for k in range(EMPTY)])
        times.append((time.perf_counter() - start) / EMPTY)
    return times[-1]


def main() -> None:
    """Measure, print and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--members", type=int, default=20)
    arguments.add_argument("--steps", type=int, default=220)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=1)
    given = arguments.parse_args()
    ray, seconds = Ray(workers=given.workers), dict[str, list[float]]()
    engines = {"alone": Engine(1), "together": Engine(given.workers), "ray": Engine(executor=ray)}
    for _ in range(given.repeats):
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name, engine in engines.items():
                train(folder / f"warm {name}", given.members, 1, engine)
                seconds.setdefault(name, []).append(train(folder / name, given.members, given.steps, engine))
            array = train_by_array(folder / "array", given.members, given.steps, given.workers)
            seconds.setdefault("array", []).append(array)
            empty = {
                name: empty_task_seconds(folder / "alone", given.steps, engine) for name, engine in engines.items()
            }
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    efficiency = {name: middle["alone"] / middle[name] / given.workers for name in ("together", "ray", "array")}
    for name in efficiency:
        print(f"{name}: {middle[name]:.1f} s, alone {middle['alone']:.1f} s, efficiency {efficiency[name]:.2f}")
    print("seconds of an empty task: " + ", ".join(f"{name} {value:.3f}" for name, value in empty.items()))
    ratio = middle["together"] / middle["alone"]
    write_figures("parallel", {**middle, "ratio": ratio, "efficiency": efficiency, "empty": empty})


if __name__ == "__main__":
    main()
