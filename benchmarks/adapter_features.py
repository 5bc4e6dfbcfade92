"""What the features of an adapter cost, against a training step of it: python benchmarks/adapter_features.py FAMILY.

The network has the shape of Stable Diffusion 1.5, of Stable Diffusion XL or of Stable Diffusion 3 medium, with random
weights, and an adapter of rank 16 on the projections of all its attention layers. Latents have 64x64 places, those of
pictures of 512x512 pixels. Both contestants run forward and backward on the same batch, one after the other, repeated
and interleaved; figures are medians of CPU time of one thread, or of wall time on a GPU:

    step       a training step: the gradients of A and B summed over the batch, and AdamW
    features   what Whence does: the gradient of A and B of each example, compressed to 4,096 numbers

The peak of memory is that of the process, on a GPU that of the device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import (
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from figures import FOLDER, spread, write_figures
from torch import Tensor

from whence.cost import peak_memory
from whence.diffusion.adapters.layers import attach
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.diffusion.families.network_call import set_call
from whence.diffusion.model import DiffusionModel
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage
from whence.gradients.readouts import outcome, readout

SIDE = 64
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
Inputs = dict[str, Tensor]


def stable_diffusion() -> tuple[DiffusionModel, Inputs]:
    """The network of Stable Diffusion 1.5, and its text."""
    network = UNet2DConditionModel(sample_size=SIDE, cross_attention_dim=768)
    return DiffusionModel(network.eval(), ddpm(), (4, SIDE, SIDE)), {"encoder_hidden_states": torch.randn(1, 77, 768)}


def stable_diffusion_xl() -> tuple[DiffusionModel, Inputs]:
    """The network of Stable Diffusion XL, its text and its sizes."""
    network = UNet2DConditionModel(
        sample_size=SIDE,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )

    def arguments(x_t: Tensor, t: Tensor, given: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        added = {name: given[name] for name in ("text_embeds", "time_ids")}
        return (x_t, t), {"encoder_hidden_states": given["encoder_hidden_states"], "added_cond_kwargs": added}

    conditions = {"encoder_hidden_states": torch.randn(1, 77, 2048), "text_embeds": torch.randn(1, 1280)}
    conditions["time_ids"] = torch.tensor([[512.0, 512, 0, 0, 512, 512]])
    return DiffusionModel(set_call(network.eval(), arguments), ddpm(), (4, SIDE, SIDE)), conditions


def stable_diffusion_3() -> tuple[DiffusionModel, Inputs]:
    """The network of Stable Diffusion 3 medium, and its text."""
    network = SD3Transformer2DModel(
        sample_size=128,
        num_layers=24,
        attention_head_dim=64,
        num_attention_heads=24,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pooled_projection_dim=2048,
        pos_embed_max_size=192,
    )
    call = set_call(network.eval(), lambda x_t, t, given: ((x_t,), {"timestep": t, **given}))
    conditions = {"encoder_hidden_states": torch.randn(1, 154, 4096), "pooled_projections": torch.randn(1, 2048)}
    return DiffusionModel(call, FlowMatchEulerDiscreteScheduler(shift=3.0), (16, SIDE, SIDE)), conditions


FAMILIES = {
    "stable-diffusion-1.5": stable_diffusion,
    "stable-diffusion-xl": stable_diffusion_xl,
    "stable-diffusion-3": stable_diffusion_3,
}


def ddpm() -> DDPMScheduler:
    """The scheduler of Stable Diffusion."""
    return DDPMScheduler(beta_schedule="scaled_linear")


def adapt(network: torch.nn.Module, rank: int) -> None:
    """Put a random adapter on the projections of all attention layers."""
    attach(network, [random_adapter(network, rank)])


def random_adapter(network: torch.nn.Module, rank: int) -> AdapterWeights:
    """Return a random adapter of the projections of all attention layers."""
    layers = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(PROJECTIONS):
            outputs, inputs = module.weight.shape
            layers[name] = LowRank(torch.randn(rank, inputs) / inputs**0.5, torch.randn(outputs, rank) * 0.01)
    return AdapterWeights(layers)


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("family", choices=FAMILIES)
    given.add_argument("--batch", type=int, default=1)
    given.add_argument("--rank", type=int, default=16)
    given.add_argument("--repeats", type=int, default=3)
    asked = given.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, conditions = FAMILIES[asked.family]()
    adapt(model.network, asked.rank)
    model.network.to(device)
    conditions = {name: row.repeat_interleave(asked.batch, 0).to(device) for name, row in conditions.items()}
    noise = torch.randn(asked.batch, *model.size, device=device)
    x, t = torch.randn_like(noise), model.process.draws(0)(["x"] * asked.batch, range(asked.batch), (1,))[0].to(device)
    trained = [weight for name, weight in model.network.named_parameters() if ".lora_" in name]
    cover = coverage(model.network, "lora_")
    print(f"{sum(p.numel() for p in model.network.parameters()):,} parameters, {cover.size:,} of the adapter, {device}")
    collector = Collector(model.network, cover, maps(cover, Compression(), device=device))
    contestants = {
        "step": partial(step, model, trained, x, t, noise, conditions),
        "features": partial(features, model, collector, x, t, noise, conditions),
    }
    figures = compare(contestants, asked.batch, asked.repeats, device)
    file = FOLDER / "adapter-features.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    write_figures("adapter-features", {**known, asked.family: {"parameters": cover.size, **figures}})


def compare(
    contestants: dict[str, Callable[[], object]], batch: int, repeats: int, device: torch.device
) -> dict[str, Any]:
    """Run the contestants in turn, print and return their seconds, their ratio and their memory."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    memory = {name: measured(contestant, device)[1] for name, contestant in contestants.items()}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            times[name].append(measured(contestant, device)[0] / batch)
    for name, own in times.items():
        low, middle, high = min(own), statistics.median(own), max(own)
        print(
            f"{name}: {middle:.3f} s per (image, draw) ({low:.3f} to {high:.3f}), peak {memory[name] / 2**30:.2f} GiB"
        )
    ratios = [own / other for own, other in zip(times["features"], times["step"], strict=True)]
    print(f"features / step: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    figures: dict[str, Any] = {"seconds": {name: spread(own, statistics.median(own)) for name, own in times.items()}}
    figures["ratio"] = spread(ratios, statistics.median(ratios))
    return figures | {"GiB": {name: size / 2**30 for name, size in memory.items()}}


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


def step(model: DiffusionModel, weights: list[Tensor], x: Tensor, t: Tensor, noise: Tensor, conditions: Inputs) -> None:
    """A training step of the adapter alone."""
    for weight in weights:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(weights, lr=0.0)
    torch.autograd.backward(model.loss(x, t, noise, **conditions).mean())
    optimiser.step()
    optimiser.zero_grad()


def features(
    model: DiffusionModel, collector: Collector, x: Tensor, t: Tensor, noise: Tensor, conditions: Inputs
) -> Tensor:
    """The features of the loss."""

    def cotangent(output: Tensor) -> Tensor:
        return readout("loss").cotangent(outcome(model, output, x, t, noise))

    x_t = model.process.noised(x, t, noise)
    return collector(x_t, t, [cotangent], conditions=conditions)[0]


if __name__ == "__main__":
    main()
