"""Begin to encode a data set and kill each attempt at its own point: python kill_encoding.py ROOT PIPELINE.

Each encoding is a child of this process and ends by SIGKILL, just before or just after the K-th file is put in place.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path


def main() -> None:
    import torch
    from kill_training import arm

    from whence.data import read
    from whence.diffusion import shards
    from whence.diffusion.augmentation import Augmentation
    from whence.diffusion.encoding import Encoders

    torch.set_num_threads(1)
    shards.ROWS = 4
    root = Path(sys.argv[1])
    data, encoders = read(root / "data"), Encoders.of(Path(sys.argv[2]))
    for kind, first in (("before", 3), ("after", 4)):
        for point in count(first, 6):
            path = root / f"{kind}-{point}"
            child = os.fork()
            if child == 0:
                arm(kind, point)
                encoders.encode(data, path, Augmentation(0, flip=True, sampled=True))
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            assert status in (0, signal.SIGKILL), status
            if status == 0:
                break
            print(path.name)


if __name__ == "__main__":
    main()
