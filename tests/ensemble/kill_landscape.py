"""Draw landscapes and kill them with SIGKILL: python kill_landscape.py ROOT, with an ensemble in ROOT/ens.

Every drawing is a child of this process, forked after the slow imports. ROOT/whole is never killed. ROOT/moments is
killed three times at random, ROOT/before-K just before its K-th file or directory is put in place, for odd K, and
ROOT/after-K just after, for even K; then each is continued to its end.
"""

import os
import random
import shutil
import signal
import sys
import time
from itertools import count
from pathlib import Path

#: Pictures of which random moments are tried, and of which every point is.
MANY, FEW = "0/0-3", "0/0"


def arm(kind: str, point: int) -> None:
    """Arrange for death before or after the K-th time that something is put in place."""
    left = point

    def fatal(function):
        def call(source, target):
            nonlocal left
            left -= 1
            if left == 0 and kind == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            function(source, target)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return call

    os.replace, os.rename = fatal(os.replace), fatal(os.rename)


def begin(path: Path, samples: str, kind: str = "", point: int = 0) -> int:
    """Fork a child that draws a landscape in many small shards."""
    from whence.engine import Engine
    from whence.ensemble import Ensemble, make_landscape

    make_landscape.LARGEST = make_landscape.SMALLEST = 4
    make_landscape.SHARD = make_landscape.TASK = 1
    child = os.fork()
    if child == 0:
        if kind:
            arm(kind, point)
        make_landscape.landscape(Ensemble.open(path), samples, placebos=6, engine=Engine(1))
        os._exit(0)
    return child


def end(child: int) -> bool:
    """Wait for a child; whether it was killed."""
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def shards(path: Path) -> int:
    """How many shards of landscapes there are, finished or not."""
    return len(list(path.glob("landscapes/*/shards/*.safetensors")))


def main() -> None:
    import torch

    torch.set_num_threads(1)
    root = Path(sys.argv[1])

    def copy(name: str) -> Path:
        return shutil.copytree(root / "ens", root / name)

    start, whole = time.monotonic(), copy("whole")
    assert not end(begin(whole, MANY))
    length = time.monotonic() - start
    path = copy("moments")
    for _ in range(3):
        child, goal = begin(path, MANY), shards(path) + random.randint(0, 4)
        while shards(path) < goal:
            time.sleep(0.001)
        time.sleep(length * random.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        print("moment", end(child), shards(path))
    assert not end(begin(path, MANY))
    for kind, first in (("before", 1), ("after", 2)):
        for point in count(first, 2):
            path = copy(f"{kind}-{point}")
            if not end(begin(path, FEW, kind, point)):
                shutil.rmtree(path)
                break
            assert not end(begin(path, FEW))
            print(path.name)


if __name__ == "__main__":
    main()
