"""What the features of an adapter cost, against a training step of it: python benchmarks/adapter_features.py.

The network has the shape of Stable Diffusion 1.5, with random weights, and an adapter of rank 16 on the projections of
all its attention layers. Both contestants run forward and backward on the same batch, one after the other, repeated and
interleaved; figures are medians of CPU time of one thread, or of wall time on a GPU:

    step       a training step: the gradients of A and B summed over the batch, and AdamW
    features   what Whence does: the gradient of A and B of each example, compressed to 4,096 numbers

The peak of memory is that of the process, on a GPU that of the device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from figures import spread, write_figures
from torch import Tensor

from whence.cost import peak_memory
from whence.diffusion.adapters.layers import attach
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.diffusion.model import DiffusionModel
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage
from whence.gradients.readouts import outcome, readout

#: Tokens and features of the text of Stable Diffusion 1.5.
TOKENS, FEATURES = 77, 768


def adapted_model(rank: int, channels: tuple[int, ...], side: int) -> DiffusionModel:
    """The network with its adapter."""
    torch.manual_seed(0)
    network = UNet2DConditionModel(sample_size=side, block_out_channels=channels, cross_attention_dim=FEATURES)
    layers = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            outputs, inputs = module.weight.shape
            layers[name] = LowRank(torch.randn(rank, inputs) / inputs**0.5, torch.randn(outputs, rank) * 0.01)
    attach(network, [AdapterWeights(layers)])
    return DiffusionModel(network.eval(), DDPMScheduler(beta_schedule="scaled_linear"), (4, side, side))


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--batch", type=int, default=1)
    given.add_argument("--rank", type=int, default=16)
    given.add_argument("--channels", type=int, nargs=4, default=[320, 640, 1280, 1280])
    given.add_argument("--side", type=int, default=64, help="height and width of the latents")
    given.add_argument("--repeats", type=int, default=3)
    asked = given.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = adapted_model(asked.rank, tuple(asked.channels), asked.side)
    model.network.to(device)
    torch.set_num_threads(1)
    noise = torch.randn(asked.batch, *model.size, device=device)
    x, t = torch.randn_like(noise), torch.randint(0, 1000, (asked.batch,), device=device)
    text = torch.randn(asked.batch, TOKENS, FEATURES, device=device)
    trained = {name: weight for name, weight in model.network.named_parameters() if ".lora_" in name}
    cover = coverage(model.network, "lora_")
    print(f"{sum(p.numel() for p in model.network.parameters()):,} parameters, {cover.size:,} of the adapter, {device}")
    contestants = {
        "step": partial(step, model, list(trained.values()), x, t, noise, text),
        "features": partial(
            features,
            model,
            Collector(model.network, cover, maps(cover, Compression(), device=device)),
            x,
            t,
            noise,
            text,
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    memory = {name: measured(contestant, device)[1] for name, contestant in contestants.items()}
    for _ in range(asked.repeats):
        for name, contestant in contestants.items():
            times[name].append(measured(contestant, device)[0] / asked.batch)
    for name in contestants:
        low, middle, high = min(times[name]), statistics.median(times[name]), max(times[name])
        print(
            f"{name}: {middle:.3f} s per (image, draw) ({low:.3f} to {high:.3f}), peak {memory[name] / 2**30:.2f} GiB"
        )
    ratios = [own / other for own, other in zip(times["features"], times["step"], strict=True)]
    print(f"features / step: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    figures: dict[str, Any] = {"seconds": {name: spread(own, statistics.median(own)) for name, own in times.items()}}
    figures["ratio"] = spread(ratios, statistics.median(ratios))
    write_figures("adapter-features", figures | {"GiB": {name: size / 2**30 for name, size in memory.items()}})


def measured(work: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Seconds of a piece of work, and the most memory until its end."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = clock() - start
    return seconds, torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_memory()


def step(model: DiffusionModel, weights: list[Tensor], x: Tensor, t: Tensor, noise: Tensor, text: Tensor) -> None:
    """A training step of the adapter alone."""
    for weight in weights:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(weights, lr=0.0)
    torch.autograd.backward(model.loss(x, t, noise, encoder_hidden_states=text).mean())
    optimiser.step()
    optimiser.zero_grad()


def features(model: DiffusionModel, collector: Collector, x: Tensor, t: Tensor, noise: Tensor, text: Tensor) -> Tensor:
    """The features of the loss."""

    def cotangent(output: Tensor) -> Tensor:
        return readout("loss").cotangent(outcome(model, output, x, t, noise))

    x_t = model.process.noised(x, t, noise)
    return collector(x_t, t, [cotangent], conditions={"encoder_hidden_states": text})[0]


if __name__ == "__main__":
    main()
