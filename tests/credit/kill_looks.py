"""Make looks of a study until killed: python kill_looks.py STUDY MODEL ROWS..."""

import sys
from pathlib import Path

import numpy as np

from whence.credit.study import Study
from whence.credit.values import looks_of

if __name__ == "__main__":
    given = [np.array([int(n) for n in own.split(",")]) for own in sys.argv[3:]]
    looks_of(Study.open(Path(sys.argv[1]), Path(sys.argv[2])), given, repeats=2, workers=1)
