"""Draw the landscapes of four pictures with two workers, in small shards: python landscape_script.py ENSEMBLE."""

import sys


def main() -> None:
    from whence.ensemble import Ensemble, landscaping
    from whence.errors import WhenceError

    landscaping.LARGEST = landscaping.SMALLEST = 4
    landscaping.SHARD = landscaping.TASK = 1
    try:
        landscaping.landscape(Ensemble.open(sys.argv[1]), "0/0-3", placebos=6, workers=2)
    except WhenceError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("whole")


if __name__ == "__main__":
    main()
