"""Measure models of a study, killed again and again; prints the number of deaths.

python kill_measurements.py STUDY MODEL ROWS

Each attempt is a child of this process, forked after the slow imports. The first dies by SIGKILL just after its first
file is put in place, the next after its fourth, and so on, until one lives.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path


def arm(point: int) -> None:
    """Die after the point-th time that a file or folder is put in place."""
    left = point

    def fatal(move):
        def moved(*arguments, **options):
            nonlocal left
            move(*arguments, **options)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return moved

    os.replace, os.rename = fatal(os.replace), fatal(os.rename)


def main() -> None:
    import numpy as np
    import torch

    from whence.credit.make_game import measure_coalitions
    from whence.credit.study import Study
    from whence.engine import Engine

    torch.set_num_threads(1)
    path, full, rows = Path(sys.argv[1]), Path(sys.argv[2]), np.array([int(n) for n in sys.argv[3].split(",")])
    for deaths, point in enumerate(count(1, 3)):
        child = os.fork()
        if child == 0:
            arm(point)
            measure_coalitions(Study.open(path, full), [rows], repeats=2, engine=Engine(1))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGKILL), status
        if status == 0:
            print(deaths)
            break


if __name__ == "__main__":
    main()
