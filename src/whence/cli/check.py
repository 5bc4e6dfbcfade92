"""The command `whence check`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.header_claims import show_claims
from whence.cli.options import ADAPTER, CLASSES, PROCESS, read_process
from whence.cli.show import say, show_notes
from whence.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from whence.diffusion.model import DiffusionModel


def check(
    base: Annotated[
        str,
        typer.Argument(help="The folder that save_pretrained of a pipeline wrote, or `styles`.", metavar="BASE"),
    ],
    adapter: ADAPTER = None,
    classes: CLASSES = None,
    process: PROCESS = None,
    resolution: Annotated[
        str | None,
        typer.Option(help="Side of the pictures of a model of latents, or WIDTHxHEIGHT such as those of a bucket."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help='What the picture is drawn from; default "a picture", or the first class of models of classes.'
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="PNG file for the picture that is drawn.")] = None,
) -> None:
    """Check that Whence reads a model as its own pipeline does: text, latents, the loss, and one picture.

    Each value is computed twice, by Whence and by diffusers. The command ends with 1 where they differ by more than
    rounding.

    Example: `whence check stable-diffusion-v1-5/ --adapter pytorch_lora_weights.safetensors --out picture.png`
    """
    from whence import images
    from whence.diffusion.adapters.adapter import Adapter
    from whence.diffusion.pipeline_check import PipelineCheck

    adapters, settings = Adapter.parse_all(adapter), read_process(process)
    opened = PipelineCheck.open(base, adapters, prompt, classes, settings, _size(resolution))
    for line in _lines(opened.model):
        say(line)
    show_claims(adapters)
    differing = []
    for comparison in opened.compare():
        verdict = "agrees" if comparison.agrees else "DIFFERS"
        say(f"{comparison.what}: {verdict} (largest difference {comparison.difference:.2g}, of {comparison.bound:.0e})")
        differing += [] if comparison.agrees else [comparison.what]
    method = opened.sampler.method.upper()
    show_notes([f"Pictures are drawn by {method}, not by {rule}." for rule in opened.model.process.not_followed])
    if out is not None:
        images.write_png(out, opened.picture())
        say(f"The picture: {out}")
    if differing:
        raise ModelError(f"Whence and the pipeline differ in: {', '.join(differing)}. Attributions would be wrong.")


def _size(resolution: str | None) -> tuple[int, int] | None:
    """Return height and width of a resolution.

    Raises:
        ConfigError: It is neither a number nor two.
    """
    if resolution is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", resolution)
    if match is None:
        raise ConfigError(f"--resolution is one side or WIDTHxHEIGHT, such as 512 or 576x448; given {resolution!r}.")
    return int(match[2] or match[1]), int(match[1])


def _lines(model: DiffusionModel) -> list[str]:
    """What is known of the model."""
    from whence.diffusion.adapters.layers import LoraLayer

    picture, example = model.codec.picture_size(model.size), model.size
    layers = [module for module in model.network.modules() if isinstance(module, LoraLayer)]
    trained = sum(weight.numel() for name, weight in model.network.named_parameters() if ".lora_" in name or not layers)
    lines = [
        f"Network: {type(model.network).__name__}, {sum(p.numel() for p in model.network.parameters()):,} parameters",
        f"Process: {model.process.timesteps} timesteps; the network predicts {model.process.prediction}",
        *([f"Loss: {model.process.stated}"] if model.process.stated else []),
        f"Pictures: {'x'.join(map(str, picture))}"
        + (f", latents {'x'.join(map(str, example))}" * (picture != example)),
    ]
    if layers:
        lines.append(f"Adapters: {trained:,} parameters in {len(layers)} layers; these are differentiated")
    if model.text is not None and model.text.adapted:
        lines.append("Text encoder: changed by an adapter; that part is applied, and not differentiated")
    return lines
