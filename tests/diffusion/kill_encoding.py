"""Begin to encode a data set and kill each attempt at its own point: python kill_encoding.py ROOT PIPELINE.

Each encoding is a child of this process and ends by SIGKILL, just before or just after the K-th file is put in place.
"""

import sys
from pathlib import Path


def main() -> None:
    import torch
    from kill_training import kill_each

    from whence.data import read
    from whence.diffusion import shards
    from whence.diffusion.augmentation import Augmentation
    from whence.diffusion.encoding import Encoders

    torch.set_num_threads(1)
    shards.ROWS = 4
    root = Path(sys.argv[1])
    data, encoders = read(root / "data"), Encoders.of(Path(sys.argv[2]))
    kill_each(
        root,
        (("before", 3, 6), ("after", 4, 6)),
        lambda path, _report: encoders.encode(data, path, Augmentation(0, flip=True, sampled=True)),
    )


if __name__ == "__main__":
    main()
