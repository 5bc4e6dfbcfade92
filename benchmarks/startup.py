"""How long commands take to start: CPU seconds of each, beside those of `import torch, diffusers`.

    python benchmarks/startup.py

Each number is the least of three runs. Commands that use a network need torch and the modules of diffusers that they
use, the second line of the table; those below need neither, but `doctor`, which asks torch for its device.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from whence.cli.show import say

RUNS = 3
COMMAND = "import sys; from whence.cli.app import main; sys.argv[0] = 'whence'; main()"
REFERENCES = {
    "`import torch, diffusers`": "import torch, diffusers",
    "the network and scheduler of diffusers": "import torch; from diffusers import DDPMScheduler, UNet2DModel",
}
COMMANDS = {
    "whence --help": ("--help",),
    "whence --version": ("--version",),
    "whence methods": ("methods",),
    "whence ensemble codebook": ("ensemble", "codebook", "--units", "1500", "--remove", "2", "--survivors", "2"),
    "whence bank show digits": ("bank", "show", "digits"),
    "whence export, 200 x 100 scores": ("export", "{scores}", "--to", "{scores}.csv"),
    "whence credit statement": ("credit", "statement", "{credit}", "--unit", "a"),
    "whence doctor": ("doctor",),
}
#: Writes scores and shares, which `export` and `credit statement` read.
ARTEFACTS = """
import sys, numpy as np, torch
from pathlib import Path
from whence.credit.credit import Credit, Explained
from whence.scores.scores import Estimand, Scores
scores, credit = map(Path, sys.argv[1:])
queries, examples = tuple(map(str, range(200))), tuple(map(str, range(100)))
named = (queries, examples, tuple((id,) for id in examples), "trak", Estimand(*["none"] * 5), "unsigned", "max")
values = torch.arange(20_000.0).reshape(200, 100)
Scores(values, *named, standard_error=torch.ones(200, 100), draws=8).write(scores, {})
explained = Explained("diversity", "Diversity", "bits", None, 0.0, 3.0)
shares = Credit("shapley", True, ("a", "b"), (("1",), ("2",)), (explained,), np.array([[1.0, 2.0]]), None, {})
shares.write(credit / "shapley", {}, {"estimator": "shapley", "efficient": True})
"""


def cpu_seconds(*words: str) -> float:
    """Return the least CPU seconds, of user and system, that Python takes for some code and its arguments."""
    seconds = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(seconds)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"scores": str(Path(folder, "scores")), "credit": str(Path(folder, "credit"))}
        subprocess.run([sys.executable, "-c", ARTEFACTS, *places.values()], check=True)
        say("| command | CPU seconds |\n|---|---|")
        for title, code in REFERENCES.items():
            say(f"| {title} | {cpu_seconds(code):.2f} |")
        for title, words in COMMANDS.items():
            say(f"| `{title}` | {cpu_seconds(COMMAND, *(word.format(**places) for word in words)):.2f} |")


if __name__ == "__main__":
    main()
