"""What many adapters on one base cost: python benchmarks/adapter_members.py [--members 64].

The network has the shape of Stable Diffusion 1.5, with random weights; each member has an adapter on the projections of
all its attention layers. A batch of 4 rows of latents 4x64x64 is evaluated, each row by another member (predictions),
each row by the mean of all members' ΔW (weights), and by the base alone. Memory is what the process has after each of
them; seconds are of one thread, medians of repeats that take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from functools import partial

import psutil
import torch
from diffusers import UNet2DConditionModel
from figures import write_figures

from whence.cost import peak_memory
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.ensemble.members import ALONE, AdapterMembers
from whence.ensemble.model import MeanPrediction, MeanWeights

TOKENS, FEATURES, SIDE, BATCH = 77, 768, 64, 4


def projections(network: torch.nn.Module) -> dict[str, torch.Size]:
    """The shapes of the projections of attention, by name of the layer."""
    ends = ("to_q", "to_k", "to_v", "to_out.0")
    return {name: layer.weight.shape for name, layer in network.named_modules() if name.endswith(ends)}


def random_adapter(shapes: Mapping[str, torch.Size], rank: int) -> AdapterWeights:
    """An adapter of layers of these shapes."""
    layers = {}
    for name, (outputs, inputs) in shapes.items():
        layers[name] = LowRank(torch.randn(rank, inputs) / inputs**0.5, torch.randn(outputs, rank) * 0.01)
    return AdapterWeights(layers)


def used() -> int:
    """Bytes of memory of this process."""
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--members", type=int, default=64)
    arguments.add_argument("--rank", type=int, default=8)
    arguments.add_argument("--channels", type=int, nargs=4, default=[320, 640, 1280, 1280])
    arguments.add_argument("--repeats", type=int, default=3)
    given = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    start = used()
    network = UNet2DConditionModel(
        sample_size=SIDE, block_out_channels=tuple(given.channels), cross_attention_dim=FEATURES
    ).eval()
    base, size = used() - start, sum(p.numel() for p in network.parameters())
    x, t = torch.randn(BATCH, 4, SIDE, SIDE), torch.arange(BATCH) * 200
    text = {"encoder_hidden_states": torch.randn(BATCH, TOKENS, FEATURES)}
    with torch.inference_mode():
        network(x, t, **text)
    batch = peak_memory() - start - base
    shapes = projections(network)
    one = 4 * sum(own.A.numel() + own.B.numel() for own in random_adapter(shapes, given.rank).network.values())
    numbers, device = range(given.members), torch.device("cpu")
    members = AdapterMembers.of(network, numbers, lambda _: random_adapter(shapes, given.rank), device)
    everybody, others = tuple(range(given.members)), [(m,) for m in range(BATCH)]
    kinds = {
        "base alone": partial(MeanPrediction(members, [(ALONE,)] * BATCH, BATCH, text), x, t),
        "predictions": partial(MeanPrediction(members, others, BATCH, text), x, t),
        "weights": partial(MeanWeights(members, [everybody] * BATCH, BATCH, text), x, t),
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(given.repeats):
        for name, evaluate in kinds.items():
            begin = time.process_time()
            evaluate()
            seconds[name].append(time.process_time() - begin)
    print(f"{size:,} parameters; {given.members} adapters of {one / 2**20:.1f} MiB each")
    allowed = base + given.members * one + batch
    print(
        f"base {base / 2**30:.2f} GiB, adapters {given.members * one / 2**30:.2f}, a batch {batch / 2**30:.2f}: ",
        end="",
    )
    print(f"{allowed / 2**30:.2f} GiB together; peak {(peak_memory() - start) / 2**30:.2f} GiB")
    for name, times in seconds.items():
        ratio = statistics.median(times) / statistics.median(seconds["base alone"])
        print(f"{name}: {statistics.median(times):.1f} s for a batch of {BATCH}, {ratio:.2f} of the base alone")
    sizes = {"base": base, "adapters": given.members * one, "batch": batch, "together": allowed}
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    write_figures(
        "adapter-members",
        {
            "parameters": size,
            "adapters": given.members,
            "MiB": one / 2**20,
            "GiB": {name: value / 2**30 for name, value in (sizes | {"peak": peak_memory() - start}).items()},
            "seconds": middle,
            "ratio": {name: value / middle["base alone"] for name, value in middle.items()},
        },
    )


if __name__ == "__main__":
    main()
