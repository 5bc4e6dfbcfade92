"""The memory that features take, which must not grow with the examples or the draws, and the error of half precision.

Features of the loss of a UNet of about 200,000 parameters on 8x8 digits, made into a store by one process. Every figure
is the peak resident memory of a process of its own; what the process held before it made features stands beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import features_cost
import torch

import whence
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.engine import Engine
from whence.gradients.batch_rows import suitable_batch
from whence.gradients.compression import Compression
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.features import Feature
from whence.gradients.gradient_spec import make_gradient_spec
from whence.gradients.make_features import FeatureJob, make_features
from whence.gradients.stored_features import Precision, StoredFeatures

SIZES = ((256, 8), (1024, 8), (4096, 8), (256, 64))
LOSS = Feature("loss")


def main() -> None:
    """Measure and print; writes memory.json beside the models."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("--out", type=Path, default=features_cost.RUNS)
    out = given.parse_args().out
    model = features_cost.Bench(features_cost.CASES[0], out).model_folder
    results = []
    for count, draws in SIZES:
        before, peak = alone(model, count, draws)
        results.append({"examples": count, "draws": draws, "before": before, "peak": peak})
        print(f"{count:5,} examples, {draws:3} draws: {before:6.0f} MiB before, {peak:6.0f} MiB at the most")
    error = half_precision(model)
    print(f"float16 store: mean features off by {error:.1e} of their length")
    (out / "memory.json").write_text(json.dumps({"memory": results, "float16 error": error}, indent=1))


def alone(model: Path, count: int, draws: int) -> tuple[float, float]:
    """MiB before and at the peak, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, model, count, draws).result()


def measured(model: Path, count: int, draws: int) -> tuple[float, float]:
    """MiB before and at the peak of this process."""
    with tempfile.TemporaryDirectory() as folder:
        features = job(Path(folder), model, count, draws)
        before = peak()
        make_features([features], engine=Engine(1))
        return before, peak()


def peak() -> float:
    """The largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def job(folder: Path, model: Path, count: int, draws: int, precision: Precision = "float32") -> FeatureJob:
    """Features of so many digits, which repeat."""
    digits = whence.load("digits")
    pixels = torch.from_numpy(digits.pixels)[torch.arange(count) % len(digits)]
    examples = Examples(tuple(f"digit {n:05d}" for n in range(count)), pixels)
    examples.write(folder / "examples")
    spec = make_gradient_spec(folder, Checkpoint(model), examples, Compression(width=features_cost.WIDTH))
    places, batch = (folder / "store", spec, folder / "examples"), suitable_batch(digits.size)
    return FeatureJob(*places, examples.fingerprint, OwnDraws(Draws(1)), draws, (LOSS,), batch, precision)


def half_precision(model: Path) -> float:
    """Mean distance between features from a store in half precision and from one in float32, relative to the length."""
    means = {}
    precisions: tuple[Precision, ...] = ("float32", "float16")
    for precision in precisions:
        with tempfile.TemporaryDirectory() as folder:
            make_features([job(Path(folder), model, 256, 8, precision)], engine=Engine(1))
            means[precision] = StoredFeatures.open(Path(folder) / "store", LOSS).mean()
    exact = means["float32"]
    return float(((means["float16"] - exact).norm(dim=1) / exact.norm(dim=1)).mean())


if __name__ == "__main__":
    main()
