"""The memory of `whence attribute --top` must not grow with the training images: python benchmarks/top_memory.py.

Grey pictures of 8x8 pixels in tars, drawn at random, and a tiny UNet. For every number of pictures the
command runs in two processes beside the leading one. Measured is anonymous memory (RssAnon in /proc/PID/status, which
files that are mapped are no part of), the most of each process, read every 50 ms.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from figures import write_figures
from PIL import Image

#: Pictures of a tar, and their side.
TAR, SIDE = 5000, 8
OPTIONS = ["--method", "tangent-squared", "--method", "trak", "--draws", "8", "--width", "64", "--workers", "2"]
QUERIES = ["--queries", "sample:4", "--sampler", "ddim", "--sampler-steps", "3", "--top", "100"]


def main() -> None:
    """Measure and print; writes docs/figures/top-memory.json unless told otherwise."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--counts", type=int, nargs="*", default=[10_000, 200_000])
    given.add_argument("--keep", action="store_true", help="write no figures")
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), options.counts)
    if not options.keep:
        write_figures("top-memory", figures)


def measure(folder: Path, counts: list[int]) -> dict[str, dict[str, float]]:
    """Return figures by number of pictures: MiB of the leading process and of the largest worker, and seconds."""
    model, figures = folder / "model", {}
    write_model(model)
    command = [str(Path(sys.executable).with_name("whence")), "attribute", str(model)]
    for count in counts:
        data, out = folder / f"data-{count}", folder / f"scores-{count}"
        write_tars(data, count)
        start = time.monotonic()
        leading, worker = peaks([*command, str(data), *QUERIES, *OPTIONS, "--out", str(out)])
        seconds = time.monotonic() - start
        figures[str(count)] = {"leading": leading, "worker": worker, "seconds": seconds}
        print(
            f"{count:7,} pictures: {leading:.0f} MiB leading, {worker:.0f} MiB in a worker, {seconds:.0f} s", flush=True
        )
    return figures


def write_model(folder: Path) -> None:
    """Write a tiny network that is not trained, as a diffusers folder."""
    shape = {"sample_size": SIDE, "in_channels": 1, "out_channels": 1, "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    torch.manual_seed(0)
    DDPMPipeline(UNet2DModel(**shape, **blocks), DDPMScheduler()).save_pretrained(folder)


def write_tars(folder: Path, count: int) -> None:
    """Write so many pictures in tars."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for first in range(0, count, TAR):
        with tarfile.open(folder / f"{first // TAR:05d}.tar", "w") as tar:
            for n in range(first, min(first + TAR, count)):
                file = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(file, "PNG")
                member = tarfile.TarInfo(f"{n:08d}.png")
                member.size = len(file.getvalue())
                tar.addfile(member, io.BytesIO(file.getvalue()))


def peaks(command: list[str]) -> tuple[float, float]:
    """Run a command; return the most anonymous memory of its leading process, and of any other, in MiB."""
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
        leading, worker = 0, 0
        while process.poll() is None:
            leading = max(leading, anonymous(process.pid))
            try:
                others = process.children(recursive=True)
            except psutil.Error:
                others = []
            worker = max([worker, *(anonymous(other.pid) for other in others)])
            time.sleep(0.05)
        output.seek(0)
        if process.returncode:
            sys.exit(output.read())
    return leading / 1024, worker / 1024


def anonymous(pid: int) -> int:
    """KiB of anonymous memory of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
