"""Draw the landscapes of four pictures with two workers, in small shards: python landscape_script.py ENSEMBLE."""

import sys


def main() -> None:
    from whence.engine import Engine
    from whence.ensemble import Ensemble, make_landscape
    from whence.errors import WhenceError

    make_landscape.LARGEST = make_landscape.SMALLEST = 4
    make_landscape.SHARD = make_landscape.TASK = 1
    try:
        make_landscape.landscape(Ensemble.open(sys.argv[1]), "0/0-3", placebos=6, engine=Engine(2))
    except WhenceError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("whole")


if __name__ == "__main__":
    main()
