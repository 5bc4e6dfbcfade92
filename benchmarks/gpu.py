"""What features, drawing and random numbers cost on a GPU: python benchmarks/gpu.py [FAMILY ...]; `make gpu` runs it.

For a UNet of 32x32 pictures and for adapters of Stable Diffusion 1.5 and XL, with random weights, on the same batch:

    step       a training step: the gradients summed over the batch, and AdamW
    features   what Whence does: the gradient of each example, compressed to 4,096 numbers

in float32 and with the network in bfloat16, at the number of rows that makes features fast, as Whence measures it.
Then the normal numbers of a batch, made on the GPU and on a processor; and the evaluations of an ensemble of 8 adapters
on `styles`, as a landscape needs them. Writes docs/figures/gpu.json, with the name of the card.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from adapter_features import FAMILIES, Inputs, adapt, compare, features, random_adapter, step
from figures import spread, write_figures

from whence.config import ModelConfig
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.diffusion.shipped_base import base_folder
from whence.engine import one_thread
from whence.ensemble.members import AdapterMembers, pairs_of
from whence.gradients.batch_rows import count_tokens, fastest_multiple, suitable_batch
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage

UNET = "unet-32x32"
RANK, REPEATS, MEMBERS = 16, 5, 8


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = [UNET, "stable-diffusion-1.5", "stable-diffusion-xl"]
    given.add_argument("family", nargs="*", default=chosen)
    given.add_argument("--device", default="cuda", help="cpu tries the script; then nothing is written")
    asked = given.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU: torch sees none. Nothing was measured.")
    device = torch.device(asked.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "a processor"
    print(f"{name}, torch {torch.__version__}")
    with one_thread():
        figures: dict[str, Any] = {family: of_family(family, device) for family in asked.family}
        figures |= {"normals": of_normals(device), "members": of_members(device)}
    if device.type == "cuda":
        write_figures("gpu", {"card": name, **figures})


def unet() -> tuple[DiffusionModel, Inputs]:
    """A UNet of 4.4 million weights for 32x32 pictures in colour."""
    return DiffusionModel.new(ModelConfig(channels=(64, 128, 128)), (3, 32, 32), seed=0), {}


def of_family(family: str, device: torch.device) -> dict[str, Any]:
    """Features and training steps of a network, in float32 and in bfloat16."""
    torch.manual_seed(0)
    model, conditions = unet() if family == UNET else FAMILIES[family]()
    parameters = None
    if family != UNET:
        adapt(model.network, RANK)
        parameters = "lora_"
    model.network.to(device)
    cover = coverage(model.network, parameters)
    trained = [weight for name, weight in model.network.named_parameters() if parameters is None or ".lora_" in name]
    rows, figures = suitable_batch(model.size, count_tokens(conditions)), {}
    for precision, autocast in (("float32", False), ("bfloat16", True)):
        collector = Collector(model.network, cover, maps(cover, Compression(), device=device), autocast)

        def batch_of(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Inputs]:
            own = {name: value.repeat_interleave(count, 0).to(device) for name, value in conditions.items()}
            t, noise = model.process.draws(0)([str(n) for n in range(count)], np.zeros(count, int), model.size, device)
            return torch.randn_like(noise), t, noise, own

        def seconds(multiple: int, collector: Collector = collector) -> float:
            inputs = batch_of(multiple * rows)
            features(model, collector, *inputs)
            start = time.perf_counter()
            features(model, collector, *inputs).cpu()
            return time.perf_counter() - start

        count = rows * (fastest_multiple(seconds) if device.type == "cuda" else 1)
        inputs = batch_of(count)
        print(f"{family}, {cover.size:,} parameters, {precision}, {count} rows")
        contestants = {
            "step": partial(_step, model, trained, inputs, precision == "bfloat16"),
            "features": partial(features, model, collector, *inputs),
        }
        figures[precision] = {"rows": count, **compare(contestants, count, REPEATS, device)}
    return {"parameters": cover.size, **figures}


def _step(model: DiffusionModel, trained: list[torch.Tensor], inputs: tuple[Any, ...], autocast: bool) -> None:
    """A training step, in bfloat16 where that is asked."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
        step(model, trained, *inputs)


def of_normals(device: torch.device) -> dict[str, Any]:
    """Normal numbers a second of 64 latents of 4x64x64, on the device and on a processor."""
    key, index, shape = keys("noise", 0, [str(n) for n in range(64)]), np.arange(64), (4, 64, 64)
    rates = {}
    for name, place in (("device", device), ("processor", torch.device("cpu"))):
        times = []
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            float(normals(key, index, shape, place)[-1, -1, -1, -1])
            times.append(64 * 4 * 64 * 64 / (time.perf_counter() - start))
        rates[name] = spread(times[1:], sorted(times[1:])[REPEATS // 2])
        print(f"normal numbers, {name}: {rates[name]['value'] / 1e6:.1f} million a second")
    return rates


def of_members(device: torch.device) -> dict[str, Any]:
    """Network evaluations a second of an ensemble of adapters on `styles`."""
    base = DiffusionModel.load(base_folder("styles"))
    adapter = random_adapter(base.network, RANK)
    members = AdapterMembers.of(base.network, range(MEMBERS), lambda _: adapter, device)
    rows, tokens = 256, base.network.config.cross_attention_dim
    x, t = torch.randn(rows, *base.size, device=device), torch.zeros(rows, dtype=torch.long, device=device)
    conditions = {"encoder_hidden_states": torch.randn(rows, 8, tokens)}
    pairs, times = pairs_of([members.numbers] * rows), []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        for _, _, outputs in members.outputs(pairs, x, t, rows, conditions):
            outputs.cpu()
        times.append(rows * MEMBERS / (time.perf_counter() - start))
    rate = spread(times[1:], sorted(times[1:])[REPEATS // 2])
    print(f"evaluations of members: {rate['value']:,.0f} a second")
    return rate


if __name__ == "__main__":
    main()
