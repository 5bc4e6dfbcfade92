"""Training members in parallel processes against one after another, with one thread each, in one run."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import write_figures

import whence
from whence.engine import Engine


def main() -> None:
    """Measure and print the ratio; every repeat trains both ways, in turn."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--members", type=int, default=8)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=2)
    given = arguments.parse_args()
    digits = whence.load("digits", unit_column="label")
    config = whence.Config().updated("training", steps=given.steps)

    def seconds(workers: int, out: Path) -> float:
        start = time.perf_counter()
        whence.train_ensemble(digits, out, members=given.members, config=config, engine=Engine(workers))
        return time.perf_counter() - start

    for repeat in range(given.repeats):
        with TemporaryDirectory() as scratch:
            alone = seconds(1, Path(scratch) / "alone")
            together = seconds(given.workers, Path(scratch) / "together")
        print(
            f"{given.members} members x {given.steps} steps, run {repeat + 1}: one after another {alone:.1f} s, "
            f"{given.workers} processes {together:.1f} s, ratio {together / alone:.2f}",
            flush=True,
        )
        write_figures("parallel", {"alone": alone, "together": together, "ratio": together / alone})


if __name__ == "__main__":
    main()
