"""The memory of `attribute_top` must not grow with the training images: python benchmarks/top_memory.py.

Grey pictures of 8x8 pixels in tars, drawn at random, and a tiny UNet. For every number of pictures a process of its own
reads the tars, writes the features of two readouts, reads them block by block, and writes scores and pictures. The
gradients of training pictures alone are random numbers, because those of 200,000 take hours. Measured is anonymous
memory (RssAnon in /proc/self/status, which files that are mapped are no part of): its peak, read every 50 ms, and how
far it rises while scores are computed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from figures import write_figures
from PIL import Image

import whence
from whence import artefacts
from whence.attribution.target import Target
from whence.engine import Engine
from whence.gradients import make_features
from whence.gradients.features import Feature, Sums
from whence.gradients.make_features import FeatureJob
from whence.gradients.stored_features import write_sums
from whence.scores.jackknife import GROUPS

#: Pictures of a tar, and their side.
TAR, SIDE = 5000, 8
#: Mebibyte in the units of /proc.
MIB = 1024


def main() -> None:
    """Measure and print; writes docs/figures/top-memory.json."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--counts", type=int, nargs="*", default=[10_000, 200_000])
    given.add_argument("--alone", type=int, help="measure this number of pictures in this process, in --folder")
    given.add_argument("--folder", type=Path, help="where pictures and features are kept")
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if options.alone:
            print(json.dumps(attribute(folder, options.alone)))
            return
        folder.mkdir(exist_ok=True)
        write_model(folder / "model")
        figures = {str(count): measured(folder, count) for count in options.counts}
    first, last = (figures[str(count)]["peak"] for count in (min(options.counts), max(options.counts)))
    write_figures("top-memory", {**figures, "growth": last / first - 1})


def measured(folder: Path, count: int) -> dict[str, float]:
    """Return the figures of so many pictures, from a process of their own, in MiB and seconds."""
    write_tars(folder / f"data-{count}", count)
    start, peak = time.monotonic(), 0
    command = [sys.executable, __file__, "--alone", str(count), "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.05)
        found = json.loads(process.stdout.read().splitlines()[-1])
    figures = {"peak": peak / MIB, "seconds": time.monotonic() - start, **found}
    print(f"{count:7,} pictures:", ", ".join(f"{name} {value:.1f}" for name, value in figures.items()), flush=True)
    return figures


def attribute(folder: Path, count: int) -> dict[str, float]:
    """Attribute two pictures to so many, and return the memory in MiB: after reading, and the rise while scoring."""
    seen = [0]
    real, make_features.make_shard = make_features.make_shard, random_shard
    data = whence.load(str(folder / f"data-{count}"))
    read = anonymous(os.getpid())
    queries = Target.open(folder / "model").queries("sample:2", method="ddim", steps=3)
    config = whence.AttributionConfig(draws=8, compression={"width": 64})
    with tempfile.TemporaryDirectory(dir=folder) as out:
        whence.attribute_top(
            folder / "model",
            data,
            queries,
            ["tangent-squared", "trak"],
            top=100,
            config=config,
            out=Path(out) / "scores",
            engine=whence.Engine(1),
            scored=lambda done, total: seen.append(anonymous(os.getpid())),
        )
    make_features.make_shard = real
    return {"read": read / MIB, "scoring": (max(seen) - seen[1]) / MIB}


def random_shard(job: FeatureJob, number: int, before: int, parts: Mapping[Feature, Path], engine: Engine) -> None:
    """Write random numbers as the features of a batch."""
    count = min(job.batch, job.count - number * job.batch)
    generator, width = torch.Generator().manual_seed(number), sum(job.spec.compression["widths"])
    for part in parts.values():
        numbers = torch.randn(GROUPS, count, width, generator=generator)
        each = torch.rand(count, job.draws, generator=generator)
        write_sums(artefacts.numbered_file(part, number), Sums(numbers, each, each.clone()), job.precision)


def write_model(folder: Path) -> None:
    """Write a tiny network that is not trained, as a diffusers folder."""
    shape = {"sample_size": SIDE, "in_channels": 1, "out_channels": 1, "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    torch.manual_seed(0)
    DDPMPipeline(UNet2DModel(**shape, **blocks), DDPMScheduler()).save_pretrained(folder)


def write_tars(folder: Path, count: int) -> None:
    """Write so many pictures in tars."""
    if folder.exists():
        return
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


def anonymous(pid: int) -> int:
    """KiB of anonymous memory of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
