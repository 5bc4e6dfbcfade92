"""Makes a derivative and kills itself without warning when so much of the work is done."""

import os
import signal
import sys

import whence


def main(run, out, at):
    def report(done, _total):
        if done >= int(at):
            os.kill(os.getpid(), signal.SIGKILL)

    data = whence.load("digits").select(range(10))
    queries = whence.Examples(("q", "r"), data.images([0, 1]))
    config = whence.AttributionConfig(draws=8)
    whence.attribute(run, data, queries, "metagradient", config=config, out=out, engine=whence.Engine(1, report))


if __name__ == "__main__":
    main(*sys.argv[1:])
