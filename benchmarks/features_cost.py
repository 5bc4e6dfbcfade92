"""What features of a gradient cost, and what their inner products are worth, against what else could be done.

Two models: a UNet of about 200,000 parameters for 8x8 digits, and one of 4.4 million for 32x32 ones in colour. All
times are CPU time of one thread per (image, draw), measured in one run, interleaved and repeated; figures are medians,
each contestant at the batch size that suits it best. Contestants:

    activations      forward and backward, all parameters frozen, only the input is not
    + bias sums      the same, and the gradients of biases and normalisations, summed over the batch
    limit            weights frozen, biases, normalisations and the input not; PyTorch forms the weights' gradients of a
                     convolution to get that of its bias, so this is no less than the next one
    plain            forward and backward with the batch's gradient of all parameters
    features         what Whence does, for one readout; with three; and in bfloat16 where that is safe
    vmap             torch.func.vmap(grad) alone
    vmap, traker     the same, then the dense random projection of the package traker, on its CPU path

The projection matrix of the larger model (4.4 million x 4,000) does not fit into memory, so that traker makes it anew
block by block: its time is measured on two blocks and scaled to the width; beside it stands that of the product alone,
as if the matrix were there, measured on one block. The errors of its projection are measured on one block too, and
scaled with the root of the width. The errors are those of inner products of
mean gradients over 8 draws, |⟨φ_a, φ_b⟩ - ⟨g_a, g_b⟩| / (‖g_a‖ ‖g_b‖), averaged over pairs of examples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from figures import FOLDER, write_figures
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from trak.projectors import BasicProjector, BasicSingleBlockProjector

import whence
from whence.cli.show import progress
from whence.diffusion.checkpoint import LoadedCheckpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.engine import Engine, one_thread
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.gradient_spec import make_gradient_spec
from whence.gradients.layers import coverage
from whence.gradients.readouts import outcome, readout

RUNS = Path("runs/features-cost")
WIDTH, BLOCK, DRAWS, SEEDS = 4096, 64, 8, range(4)
THREE = ("loss", "squared-norm", "mean")


@dataclass(frozen=True)
class Case:
    """A model, and how much of everything is measured on it."""

    name: str
    side: int
    channels: tuple[int, ...]
    steps: int
    training_batch: int
    sizes: tuple[int, ...]
    vmap_sizes: tuple[int, ...]
    projected_rows: int
    pairs_of: int


CASES = (
    Case("8x8", 8, (24, 32), 300, 128, (64, 128, 256, 512), (16, 32, 64, 128), 64, 32),
    Case("32x32", 32, (64, 128, 128), 100, 16, (8, 16, 32, 64), (4, 8, 16), 16, 12),
)


def main() -> None:
    """Measure and print; writes the figures of the measured models, and leaves those of others as they are."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("--model", choices=[case.name for case in CASES], action="append", help="default both")
    given.add_argument("--repeats", type=int, default=9)
    given.add_argument("--out", type=Path, default=RUNS)
    asked = given.parse_args()
    results = {}
    for case in CASES:
        if asked.model is None or case.name in asked.model:
            bench = Bench(case, asked.out)
            with one_thread():
                found = {**bench.facts(), **bench.times(asked.repeats), **bench.errors()}
                results[case.name] = {**found, "ratio": ratios(found["ms"])}
            show(case.name, results[case.name])
    stored = FOLDER / "features-cost.json"
    before = json.loads(stored.read_text("utf-8")) if stored.exists() else {}
    write_figures("features-cost", {**before, **results})


class Bench:
    """The contestants, on batches of one model."""

    def __init__(self, case: Case, out: Path) -> None:
        self.case, self.data = case, digits(case.side)
        config = whence.Config().updated("model", channels=case.channels)
        config = config.updated("training", steps=case.steps, batch_size=case.training_batch, checkpoints=0)
        self.model_folder = out / case.name
        with progress(f"training the {case.name} model") as report:
            whence.train(self.data, self.model_folder, config, engine=Engine(report=report))
        self.model = whence.DiffusionModel.load(self.model_folder)
        examples = Examples(self.data.ids, torch.from_numpy(self.data.pixels))
        checkpoint, folder = LoadedCheckpoint(self.model), out / f"{case.name}-features"
        spec = make_gradient_spec(folder, checkpoint, examples, Compression(width=WIDTH))
        self.shares, self.cover = spec.compression["shares"], coverage(self.model.network)
        self.network = self.model.network
        self.batches: dict[int, tuple[Tensor, ...]] = {}

    def collector(self, seed: int = 0, autocast: bool = False) -> Collector:
        """Our features; every seed has other projections."""
        made = maps(self.cover, Compression(width=WIDTH, seed=seed), self.shares)
        return Collector(self.network, self.cover, made, autocast)

    @cached_property
    def features(self) -> Collector:
        """The one that is timed."""
        return self.collector()

    @cached_property
    def rounded(self) -> Collector:
        """The same in bfloat16."""
        return self.collector(autocast=True)

    def facts(self) -> dict[str, float]:
        """Sizes."""
        return {"parameters": self.cover.size, "width": self.features.maps.width}

    def rows(self, examples: list[int], draws: list[int]) -> tuple[Tensor, ...]:
        """x_t, t, x and noise."""
        x = self.data.images(examples)
        t, noise = Draws(0)([self.data.ids[n] for n in examples], draws, self.data.size)
        return self.model.process.noised(x, t, noise), t, x, noise

    def batch(self, count: int) -> tuple[Tensor, ...]:
        """Some rows, the same every time."""
        if count not in self.batches:
            self.batches[count] = self.rows([n % len(self.data) for n in range(count)], [0] * count)
        return self.batches[count]

    def cotangent(self, name: str, rows: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """∂f/∂output."""
        _, t, x, noise = rows
        return readout(name).cotangent(outcome(self.model, output, x, t, noise))

    def plain(self, which: Callable[[nn.Parameter], bool], count: int) -> float:
        """Forward and backward with some parameters frozen; the backward alone is remembered."""
        for parameter in self.network.parameters():
            parameter.requires_grad_(which(parameter))
        rows = self.batch(count)
        x_t = rows[0].clone().requires_grad_()
        wanted = [x_t, *(parameter for parameter in self.network.parameters() if parameter.requires_grad)]
        start = time.process_time()
        output = self.network(x_t, rows[1]).sample
        half = time.process_time()
        torch.autograd.grad(output, wanted, self.cotangent("loss", rows, output.detach()))
        self.backward = (time.process_time() - half) / count
        return time.process_time() - start

    def with_sums(self, count: int) -> float:
        """Biases' gradients as sums of the cotangent, as no weight's gradient needs to be formed for them."""
        norms = {id(p) for m in self.network.modules() if isinstance(m, nn.GroupNorm) for p in m.parameters()}
        with bias_sums(self.network):
            return self.plain(lambda parameter: id(parameter) in norms, count)

    def collected(self, collector: Collector, names: tuple[str, ...], count: int) -> float:
        """Our features."""
        rows = self.batch(count)
        cotangents = [partial(self.cotangent, name, rows) for name in names]
        return timed(lambda: collector(rows[0], rows[1], cotangents))

    def single(self, count: int) -> Tensor:
        """Gradients of the loss of every row, [n, parameters]."""
        for parameter in self.network.parameters():
            parameter.requires_grad_(True)
        values = {name: parameter.detach() for name, parameter in self.network.named_parameters()}
        x_t, t, x, noise = self.batch(count)

        def loss(weights: dict[str, Tensor], x_t: Tensor, t: Tensor, target: Tensor) -> Tensor:
            output = functional_call(self.network, weights, (x_t[None], t[None])).sample[0]
            return (output - target).square().mean()

        target = self.model.process.target(x, t, noise)
        with sdpa_kernel(SDPBackend.MATH):
            found = vmap(grad(loss), in_dims=(None, 0, 0, 0))(values, x_t, t, target)
        return torch.cat([part.flatten(1) for part in found.values()], 1)

    def times(self, repeats: int) -> dict[str, dict[str, float]]:
        """Milliseconds per row of every contestant at its best batch size, and that size."""
        work: dict[str, Callable[[int], float]] = {
            "activations": partial(self.plain, lambda parameter: False),
            "+ bias sums": self.with_sums,
            "limit": partial(self.plain, lambda parameter: parameter.dim() < 2),
            "plain": partial(self.plain, lambda parameter: True),
            "features": partial(self.collected, self.features, THREE[:1]),
            "three readouts": partial(self.collected, self.features, THREE),
            "bfloat16": partial(self.collected, self.rounded, THREE[:1]),
            "vmap": lambda count: timed(lambda: self.single(count)),
        }
        sizes = {name: self.case.vmap_sizes if name == "vmap" else self.case.sizes for name in work}
        scan = interleaved(work, sizes, 1)
        best = {name: min(sizes[name], key=lambda size, n=name: scan[n, size]) for name in work}
        backward: list[float] = []

        def limit(count: int) -> float:
            seconds = work["limit"](count)
            backward.append(self.backward)
            return seconds

        found = interleaved({**work, "limit": limit}, {name: (size,) for name, size in best.items()}, repeats)
        times = {name: found[name, size] * 1e3 for name, size in best.items()}
        times |= {"backward": statistics.median(backward) * 1e3}
        times |= {name: seconds * 1e3 for name, seconds in self.projection().items()}
        times |= {"further readout": (times["three readouts"] - times["features"]) / 2}
        return {"ms": times, "batch": best}

    def projection(self) -> dict[str, float]:
        """Seconds that traker's dense projection takes per row, and its product alone."""
        rows, width = self.case.projected_rows, self.features.maps.width
        gradients = torch.cat([self.single(16) for _ in range(rows // 16)])
        found = {}
        for name, part in (("projection", 2 * BLOCK), ("product", BLOCK)):
            project = self.projector(width if self.fits else part)
            scale = 1 if self.fits else width / part
            found[name] = min(timed(lambda p=project: p(gradients)) for _ in range(2)) / rows * scale
            if self.fits:
                return {"projection": found[name], "product": found[name]}
        return found

    @property
    def fits(self) -> bool:
        """Whether the dense projection matrix is held in memory."""
        return self.cover.size * WIDTH * 4 < 2**32

    def projector(self, width: int, seed: int = 0) -> Callable[[Tensor], Tensor]:
        """Traker's projection to some width, or to as much of it as is measured."""
        how = {"seed": seed, "proj_type": "rademacher", "device": torch.device("cpu")}
        if self.fits:
            whole = BasicSingleBlockProjector(self.cover.size, width, **how)
            return lambda gradients: whole.project(gradients, model_id=0)
        blocks = BasicProjector(self.cover.size, width, block_size=BLOCK, **how)
        return lambda gradients: blocks.project(gradients, model_id=0)

    def errors(self) -> dict[str, dict[str, float]]:
        """Mean error of inner products of both projections, by readout, and what bfloat16 does to features."""
        width = self.features.maps.width
        part = width if self.fits else BLOCK
        of, examples = THREE[:2], range(self.case.pairs_of)
        exact = {name: torch.stack([self.mean_gradient(name, n) for n in examples]) for name in of}
        found: dict[tuple[str, str], list[float]] = {}
        for seed in SEEDS:
            ours, project = self.collector(seed), self.projector(part, seed)
            for name in of:
                features = torch.stack([self.mean_features(ours, name, n) for n in examples])
                found.setdefault(("error", name), []).append(error(exact[name], features))
                dense = error(exact[name], project(exact[name]) / part**0.5) * (part / width) ** 0.5
                found.setdefault(("dense error", name), []).append(dense)
            del project
        means = {kind: {name: statistics.mean(found[kind, name]) for name in of} for kind in ("error", "dense error")}
        rounding = statistics.mean(
            float((self.mean_features(self.rounded, "loss", n) - exact).norm() / exact.norm())
            for n in range(8)
            for exact in [self.mean_features(self.features, "loss", n)]
        )
        return {**means, "bfloat16 error": {"loss": rounding}}

    def mean_gradient(self, name: str, example: int) -> Tensor:
        """The mean gradient of an example over its draws, by autograd."""
        for parameter in self.network.parameters():
            parameter.requires_grad_(True)
        rows = self.rows([example] * DRAWS, list(range(DRAWS)))
        output = self.network(rows[0], rows[1]).sample
        cotangent = self.cotangent(name, rows, output.detach()) / DRAWS
        return torch.cat(
            [part.flatten() for part in torch.autograd.grad(output, list(self.network.parameters()), cotangent)]
        )

    def mean_features(self, collector: Collector, name: str, example: int) -> Tensor:
        """Its features."""
        rows = self.rows([example] * DRAWS, list(range(DRAWS)))
        return collector(rows[0], rows[1], [partial(self.cotangent, name, rows)])[0].mean(0)


def digits(side: int) -> whence.Dataset:
    """The digits; larger ones are enlarged, and each gets a colour of its own."""
    data = whence.load("digits")
    if side == 8:
        return data
    data = data.select(np.arange(256))
    large = F.interpolate(torch.from_numpy(data.pixels).float(), (side, side), mode="bilinear")
    colour = torch.from_numpy(np.random.default_rng(0).uniform(0.3, 1, (len(data), 3, 1, 1))).float()
    pixels = (large * colour).round().clamp(0, 255).to(torch.uint8).numpy()
    return replace(data, pixels=pixels)


@contextmanager
def bias_sums(network: nn.Module) -> Iterator[None]:
    """Add up the cotangents of all convolutions and linear layers, as the gradients of their biases."""

    def listen(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        axes = (0, 2, 3) if output.dim() == 4 else tuple(range(output.dim() - 1))
        if output.requires_grad:
            output.register_hook(lambda cotangent: (cotangent.sum(axes), None)[1])  # type: ignore[no-untyped-call]

    with ExitStack() as stack:
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                stack.callback(module.register_forward_hook(listen).remove)
        yield


def timed(work: Callable[[], object]) -> float:
    """Seconds of this process's CPU time that a call takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(
    work: dict[str, Callable[[int], float]], sizes: dict[str, tuple[int, ...]], repeats: int
) -> dict[tuple[str, int], float]:
    """Median seconds per row of every contestant and batch size, after one round that doesn't count."""
    times: dict[tuple[str, int], list[float]] = {}
    for repeat in range(repeats + 1):
        for name, size in [(key, each) for key in work for each in sizes[key]]:
            seconds = work[name](size) / size
            if repeat:
                times.setdefault((name, size), []).append(seconds)
    return {key: statistics.median(found) for key, found in times.items()}


def error(exact: Tensor, features: Tensor) -> float:
    """Mean error of the inner products of all pairs of rows, relative to the lengths."""
    true, found = (side.double() @ side.double().T for side in (exact, features))
    length = true.diagonal().sqrt()
    pairs = torch.triu_indices(len(exact), len(exact), 1)
    return float(((found - true) / (length[:, None] * length))[pairs[0], pairs[1]].abs().mean())


def ratios(ms: dict[str, float]) -> dict[str, float]:
    """Times of features relative to others, and of others relative to features, from milliseconds."""
    features, slow = ms["features"], ms["vmap"]
    return {
        "limit": features / ms["limit"],
        "bias sums": features / ms["+ bias sums"],
        "vmap": slow / features,
        "vmap, product": (slow + ms["product"]) / features,
        "vmap, traker": (slow + ms["projection"]) / features,
        "bfloat16": ms["bfloat16"] / features,
    }


def show(name: str, found: dict) -> None:
    """Print the figures of one model."""
    ms, batch, features, ratio = found["ms"], found["batch"], found["ms"]["features"], found["ratio"]
    print(f"{name}: {found['parameters']:,} parameters, {found['width']:,} features; CPU ms per (image, draw):")
    for key, size in batch.items():
        print(f"  {key:15} {ms[key]:9.3f}  {features / ms[key]:7.2f}  (batch {size})")
    print(f"features / limit {ratio['limit']:.2f}; / (activations + bias sums) {ratio['bias sums']:.2f}")
    print(f"each further readout costs {ms['further readout']:.3f} ms; backward of the limit {ms['backward']:.3f}")
    print(f"{ratio['vmap']:.1f} times faster than vmap alone, {ratio['vmap, traker']:.0f} times than with traker")
    print(f"{ratio['vmap, product']:.1f} times faster than with traker if its matrix is held in memory")
    for key in found["error"]:
        print(f"error of inner products, {key:12}: {found['error'][key]:.4f}; dense {found['dense error'][key]:.4f}")
    off = found["bfloat16 error"]["loss"]
    print(f"bfloat16 autocast: {ratio['bfloat16']:.2f} of the time, features off by {off:.4f}")


if __name__ == "__main__":
    main()
