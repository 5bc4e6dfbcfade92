"""Makes a derivative and kills itself without warning when so much of the work is done."""

import os
import signal
import sys

import whence

run, out, at = sys.argv[1], sys.argv[2], int(sys.argv[3])


def report(done, _total):
    if done >= at:
        os.kill(os.getpid(), signal.SIGKILL)


data = whence.load("digits").select(range(10))
queries = whence.Examples(("q", "r"), data.images([0, 1]))
config = whence.AttributionConfig(draws=8)
whence.attribute(run, data, queries, "metagradient", config=config, out=out, engine=whence.Engine(1, report))
