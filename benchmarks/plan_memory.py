"""The memory that `--plan` promises against the measured peak: python benchmarks/plan_memory.py [--sides 8 32 64 128].

Each command runs twice on made-up colour images (256 up to 32x32, 32 of larger ones): with `--plan`, and for a few
steps. The measured peak is the most memory of the command and its workers together, where shared memory counts once,
read every 20 ms. The promise must lie within 15% of it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from figures import write_figures
from PIL import Image

UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def peak(command: list[str]) -> tuple[int, str]:
    """Run a command; return the largest memory of its processes in bytes, and what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        process, largest = psutil.Popen(command, stdout=output, stderr=output, env=dict(os.environ)), 0
        while process.poll() is None:
            largest = max(largest, _used(process))
            time.sleep(0.02)
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(text)
    return largest, text


def _used(process: psutil.Process) -> int:
    """Bytes of the processes: what each has alone, and once what they share."""
    alone, shared = 0, 0
    for member in (process, *process.children(recursive=True)):
        try:
            memory = member.memory_full_info()
        except psutil.Error:
            continue
        alone, shared = alone + memory.uss, max(shared, memory.rss - memory.uss)
    return alone + shared


def promised(text: str) -> float:
    """The bytes of memory in the output of `--plan`."""
    number, unit = re.search(r"[Mm]emory\D*([\d.,]+)\s*(\w+)", text).groups()
    return float(number.replace(",", "")) * UNITS[unit]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[8, 32, 64, 128])
    given = parser.parse_args()
    program = [sys.executable, "-c", "from whence.cli.app import main; main()"]
    found: dict[str, dict[str, dict[str, float]]] = {}
    print("| Command | Images | Promised | Measured peak | Ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for side in given.sides:
            data = Path(folder) / f"{side}"
            data.mkdir()
            for n in range(256 if side <= 32 else 32):
                pixels = np.random.default_rng(n).integers(0, 256, (side, side, 3), dtype=np.uint8)
                (data / f"unit {n % 4}").mkdir(exist_ok=True)
                Image.fromarray(pixels).save(data / f"unit {n % 4}" / f"{n}.png")
            run, ens = data.with_name(f"run{side}"), data.with_name(f"ens{side}")
            steps = ["--steps", "4" if side <= 32 else "2"]
            ensemble = ["ensemble", "train", data, "--unit-column", "label", "--members", "4", *steps, "--out", ens]
            drawing = ["--count", "16", "--method", "ddim", "--steps", "3", "--seed", "1"]
            scores = ["--queries", "sample:4", "--sampler-steps", "3", "--draws", "8", "--out", f"{run}-scores"]
            commands = {
                "train": ["train", data, *steps, "--out", run],
                "attribute": ["attribute", run, data, *scores],
                "ensemble train": ensemble,
                "ensemble sample": ["ensemble", "sample", ens, *drawing],
            }
            for name, arguments in commands.items():
                command = [*program, *map(str, arguments)]
                _, text = peak([*command, "--plan"])
                measured, _ = peak(command)
                sizes = f"{promised(text) / 1e9:.2f} GB | {measured / 1e9:.2f} GB | {promised(text) / measured:.2f}"
                print(f"| {name} | 3x{side}x{side} | {sizes} |", flush=True)
                figures = {"promised": promised(text) / 1e9, "measured": measured / 1e9}
                found.setdefault(name, {})[str(side)] = figures | {"ratio": promised(text) / measured}
    write_figures("plan-memory", found)


if __name__ == "__main__":
    main()
