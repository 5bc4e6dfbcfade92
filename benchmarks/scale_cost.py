"""What attribution costs on one core, from 10,000 to 100 million images: python benchmarks/scale_cost.py.

Three models with random weights: a UNet of 4.4 million weights for 32x32 pictures, and adapters of Stable Diffusion
1.5 and XL at latents of 64x64 places, those of pictures of 512x512 pixels. Each cost is a count times a rate:

    all          images x (encoding + draws x features)
    prefilter    images x (encoding + distance) + rows x draws x features, with the 2,000 images of the nearest latents
                 to one picture and as many random others as rows

The rates are CPU seconds of one thread in float32. Those of the features of adapters are read from docs/figures, where
benchmarks/adapter_features.py wrote them; the others are measured here: features of the UNet, encoding an image and its
caption, and the distance of two examples. Scores are not counted. Writes docs/figures/scale-cost.json and prints the
table of docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from adapter_features import features
from diffusers import AutoencoderKL
from figures import FOLDER, write_figures
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from gpu import unet
from whence.attribution.prefilter import nearest_latents
from whence.diffusion.examples import Examples
from whence.engine import one_thread
from whence.gradients.collector import Collector
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage

IMAGES, DRAWS, CANDIDATES, REPEATS = (10_000, 1_000_000, 100_000_000), (10, 32, 100), 2_000, 3
TOKENS, BATCH = 77, 16
#: The models, and the shape of what they denoise.
MODELS = {
    "UNet of 32x32": (3, 32, 32),
    "Stable Diffusion 1.5": (4, 64, 64),
    "Stable Diffusion XL": (4, 64, 64),
}
ADAPTERS = {"Stable Diffusion 1.5": "stable-diffusion-1.5", "Stable Diffusion XL": "stable-diffusion-xl"}


def main() -> None:
    """Measure, multiply, print and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.manual_seed(0)
    with one_thread():
        picture, texts = autoencoder_seconds(), {"Stable Diffusion 1.5": clip_l, "Stable Diffusion XL": both}
        rates = {
            name: {
                "features": features_seconds(name),
                "encoding": picture + text_seconds(texts[name]) if name in texts else 0.0,
                "distance": distance_seconds(size),
            }
            for name, size in MODELS.items()
        }
    hours = {name: costs(rate) for name, rate in rates.items()}
    write_figures("scale-cost", {"rates": rates, "hours": hours})
    print(rates)
    print(table(hours))


def features_seconds(name: str) -> float:
    """Seconds of the features of an image at a draw; those of adapters as another benchmark measured them."""
    if name in ADAPTERS:
        found = json.loads((FOLDER / "adapter-features.json").read_text("utf-8"))
        return float(found[ADAPTERS[name]]["seconds"]["features"]["value"])
    model, _ = unet()
    noise = torch.randn(BATCH, *model.size)
    x, t = torch.randn_like(noise), model.process.draws(0)(["x"] * BATCH, range(BATCH), (1,))[0]
    cover = coverage(model.network)
    collector = Collector(model.network, cover, maps(cover, Compression()))
    return seconds(lambda: features(model, collector, x, t, noise, {})) / BATCH


def autoencoder_seconds() -> float:
    """Seconds of encoding a picture of 512x512 pixels; the autoencoders of both models have this shape."""
    blocks = 4
    autoencoder = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        layers_per_block=2,
    ).eval()
    picture = torch.rand(1, 3, 512, 512)
    with torch.inference_mode():
        return seconds(lambda: autoencoder.encode(picture).latent_dist.mean)


def clip_l() -> list[torch.nn.Module]:
    """The text encoder of Stable Diffusion 1.5."""
    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    return [CLIPTextModel(config).eval()]


def both() -> list[torch.nn.Module]:
    """The two text encoders of Stable Diffusion XL."""
    config = CLIPTextConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        projection_dim=1280,
        hidden_act="gelu",
    )
    return [*clip_l(), CLIPTextModelWithProjection(config).eval()]


def text_seconds(encoders: Callable[[], list[torch.nn.Module]]) -> float:
    """Seconds of encoding a caption."""
    tokens, networks = torch.randint(0, 49_000, (1, TOKENS)), encoders()
    with torch.inference_mode():
        return seconds(lambda: [network(tokens, output_hidden_states=True) for network in networks])


def distance_seconds(size: tuple[int, ...]) -> float:
    """Seconds of the distance of an example in memory from one picture, and of its place among the nearest."""
    count = 10_000 if size[0] == 4 else 50_000
    examples = Examples(tuple(str(n) for n in range(count)), torch.randn(count, *size))
    request: Any = SimpleNamespace(queries=examples.head(1), examples=examples)
    return seconds(lambda: nearest_latents(request, CANDIDATES)) / count


def seconds(work: Callable[[], object]) -> float:
    """The median CPU seconds of a piece of work, after one that does not count."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def costs(rate: dict[str, float]) -> dict[str, Any]:
    """Core hours by number of images, number of draws, and with and without a prefilter."""
    found: dict[str, Any] = {}
    for images in IMAGES:
        rows = min(images, 2 * CANDIDATES)
        for draws in DRAWS:
            every = images * (rate["encoding"] + draws * rate["features"])
            few = images * (rate["encoding"] + rate["distance"]) + rows * draws * rate["features"]
            found.setdefault(str(images), {})[str(draws)] = {"all": every / 3600, "prefilter": few / 3600}
    return found


def table(hours: dict[str, Any]) -> str:
    """The rows of docs/scale.md, with the marks that say where each figure is."""
    heads = ("model", "images", "gradients of", *(f"{draws} draws" for draws in DRAWS))
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, found in hours.items():
        for images, by_draws in found.items():
            for kind, rows in (("all", "all"), ("prefilter", f"`--prefilter latent:{CANDIDATES}`")):
                at = f"scale-cost/hours/{name}/{images}"
                cells = [f"{shown(by_draws[str(n)][kind])}<!-- figure: {at}/{n}/{kind} -->" for n in DRAWS]
                lines.append(f"| {name} | {int(images):,} | {rows} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(hours: float) -> str:
    """Hours with one decimal below 10."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}".removeprefix("0")


if __name__ == "__main__":
    main()
