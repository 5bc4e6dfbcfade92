"""Train an ensemble of six with two workers: python train_script.py DATA CONFIG PATH."""

import sys
from pathlib import Path


def main() -> None:
    from whence.config import read_config
    from whence.data import read
    from whence.engine import Engine
    from whence.ensemble import train_ensemble
    from whence.errors import WhenceError

    data, config, path = map(Path, sys.argv[1:])
    try:
        train_ensemble(read(data), path, members=6, config=read_config(config), engine=Engine(2))
    except WhenceError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("whole")


if __name__ == "__main__":
    main()
