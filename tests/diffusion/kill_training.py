"""Begin runs on a data set and kill each at its own point: python kill_training.py ROOT CONFIG [BASE].

Each run is a child of this process, forked after the slow imports, and ends by SIGKILL: after a step, just
before or just after the K-th file is put in place, or just after the K-th file is removed.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kind: str, point: int):
    """Arrange for death at the point; returns the report that the run should get."""
    left, replace, unlink = point, os.replace, os.unlink

    def fatal_replace(source, target):
        nonlocal left
        left -= 1
        if left == 0 and kind == "before":
            die()
        replace(source, target)
        if left == 0:
            die()

    def fatal_unlink(path, **options):
        nonlocal left
        unlink(path, **options)
        left -= str(path).endswith(".safetensors") or str(path).endswith(".json")
        if left == 0:
            die()

    if kind in ("before", "after"):
        os.replace = fatal_replace
    elif kind == "removed":
        os.unlink = fatal_unlink
    return lambda done, total: die() if kind == "step" and done == point else None


def kill_each(root: Path, kinds: Iterable[tuple[str, int, int]], work: Callable[[Path, Callable], object]) -> None:
    """Do the work in a child for each kind and its points FIRST, FIRST + STRIDE ..., until it ends before its point.

    Prints the name of each folder that a killed child leaves; `work` gets the folder and the report.
    """
    for kind, first, stride in kinds:
        for point in count(first, stride):
            path = root / f"{kind}-{point}"
            child = os.fork()
            if child == 0:
                work(path, arm(kind, point))
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            assert status in (0, signal.SIGKILL), status
            if status == 0:
                break
            print(path.name)


def main() -> None:
    import torch

    from whence.config import read_config
    from whence.data import read
    from whence.diffusion.training import train
    from whence.engine import Engine

    torch.set_num_threads(1)
    root, config = Path(sys.argv[1]), read_config(Path(sys.argv[2]))
    data, base = read(root / "data"), Path(sys.argv[3]) if len(sys.argv) > 3 else None
    kinds = (("step", 1, 2), ("before", 3, 5), ("after", 5, 5), ("removed", 1, 2))
    kill_each(root, kinds, lambda path, report: train(data, path, config, base=base, engine=Engine(report=report)))


if __name__ == "__main__":
    main()
