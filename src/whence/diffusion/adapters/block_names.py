"""Names of the blocks of a UNet in the code before diffusers, which kohya's trainer keeps for Stable Diffusion XL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from diffusers.loaders import lora_conversion_utils as conversion
from torch import nn

from whence.diffusion.adapters.low_rank import LowRank
from whence.errors import ModelError

_OLD = re.compile("lora_unet_(input_blocks|middle_block|output_blocks|time_embed_|label_emb_|out_2)")


def diffusers_names(network: nn.Module, layers: Mapping[str, LowRank]) -> Mapping[str, LowRank]:
    """Return layers by the names that a network of diffusers has; which they are depends on the layers in its blocks.

    Diffusers' own converter finds them. Layers with other names are returned as they are.

    Raises:
        ModelError: The names are of blocks that can't be found.
    """
    if not any(_OLD.match(name) for name in layers):
        return layers
    config: Any = getattr(network, "config", None)
    try:
        mapped = conversion._maybe_map_sgm_blocks_to_diffusers(dict(layers), config)
        return {conversion._convert_unet_lora_key(name).replace(".processor", ""): own for name, own in mapped.items()}
    except (ValueError, IndexError, AttributeError) as error:
        raise ModelError(
            f"The adapter names blocks of a UNet that are not in this {type(network).__name__}: {error}. Give the "
            "model that it was trained on."
        ) from None
