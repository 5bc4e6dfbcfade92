"""The pipeline of a folder as diffusers opens it, with adapters as diffusers puts them on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.folders import WEIGHTS, read_mapping, variant_of
from whence.errors import ArtefactError, ConfigError


def open_pipeline(folder: Path, adapters: Sequence[Adapter] = ()) -> Any:
    """Return the pipeline of diffusers in a folder, in float32, as Whence reads all parts; it shows no progress.

    Raises:
        ArtefactError: diffusers doesn't have it, or can't open it or put the adapters on it.
        ConfigError: There are adapters, and peft, which diffusers needs for them, is not installed.
    """
    index = read_mapping(folder / "model_index.json")
    without = {part: None for part, entry in index.items() if entry == [None, None]}
    kind = getattr(diffusers, str(index.get("_class_name")), None)
    if kind is None:
        raise ArtefactError(f"{folder} is of a pipeline that diffusers {diffusers.__version__} doesn't have.")
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()  # an adapter without a part for the text encoder is no problem
    try:
        pipeline = kind.from_pretrained(folder, local_files_only=True, variant=_variant(folder), **without)
        pipeline.to(torch.float32)
        _put_on(pipeline, adapters)
    except ConfigError:
        raise
    except Exception as error:
        raise ArtefactError(f"{folder} can't be opened by diffusers: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _variant(folder: Path) -> str | None:
    """The variant of the weights of a part that has no others; diffusers takes it for all parts that have it."""
    parts = {file.parent: WEIGHTS for file in folder.glob(f"*/{WEIGHTS}*")}
    parts |= {file.parent: "model" for file in folder.glob("text_encoder*/model*")}
    return next((variant for part, name in parts.items() if (variant := variant_of(part, name))), None)


def _put_on(pipeline: Any, adapters: Sequence[Adapter]) -> None:
    """Put adapters on a pipeline as diffusers does."""
    if not adapters:
        return
    try:
        import peft  # noqa: F401
    except ImportError:
        raise ConfigError(
            "diffusers needs peft to put an adapter on a pipeline: pip install peft. Without it, Whence attributes as "
            "usual, and this check can't be made."
        ) from None
    names = [f"adapter{n}" for n in range(len(adapters))]
    for name, adapter in zip(names, adapters, strict=True):
        file = adapter.weights_file
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name, local_files_only=True)
    pipeline.set_adapters(names, [adapter.strength for adapter in adapters])
