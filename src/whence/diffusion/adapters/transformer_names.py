"""Adapters of FLUX in the names of other programs, turned into those of diffusers by its own converters.

    lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight    kohya's trainer
    diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight  the names of FLUX's own code
    double_blocks.0.processor.qkv_lora1.down.weight             XLabs
    lora_transformer_transformer_blocks_0_attn_to_q.alpha       OneTrainer

One layer of these may be several of diffusers', each with some rows of B. So the sum of ‖ΔW‖² over all layers stays the
same, and a conversion that loses or changes a layer is found out by it. ai-toolkit writes the names of diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from whence.errors import ModelError

_NAMES = re.compile(
    r"(lora_unet_|diffusion_model\.)?(double_blocks|single_blocks|(img|txt|time|vector|guidance)_in|final_layer)"
    r"|lora_transformer_"
)
_DOWN = re.compile(r"\.(lora_down|lora_A|down)\.weight$")
#: Largest relative difference of the sum of ‖ΔW‖² that rounding explains.
ROUNDING = 1e-3


def diffusers_names(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the tensors of an adapter by the names of diffusers; those of other adapters as they are.

    α is multiplied into A where names are turned.

    Raises:
        ModelError: diffusers can't convert it, or the conversion loses a part.
    """
    if not any(_NAMES.match(name) for name in tensors):
        return dict(tensors)
    from diffusers import FluxPipeline

    plain = {name.replace(".lora_A.", ".lora_down.").replace(".lora_B.", ".lora_up."): t for name, t in tensors.items()}
    try:
        found: dict[str, Tensor] = FluxPipeline.lora_state_dict({name: t.clone() for name, t in plain.items()})
    except Exception as error:
        raise ModelError(
            f"{source} has the names of a trainer of FLUX, and diffusers can't convert them: {error}. Save the adapter "
            "again in the format of diffusers."
        ) from error
    before, after = _squared_norm(plain), _squared_norm(found)
    if not abs(before - after) <= ROUNDING * before:
        raise ModelError(
            f"{source} has the names of a trainer of FLUX, and its changes of weights have a squared norm of "
            f"{before:.4g}; of it {after:.4g} is left when diffusers converts them. It has parts that diffusers leaves "
            "out, such as T5's, or layers of another model than FLUX. Save it again in the format of diffusers."
        )
    return found


def _squared_norm(tensors: Mapping[str, Tensor]) -> float:
    """Σ ‖(α/r) B A‖² over the layers, by the traces of BᵀB and AAᵀ."""
    total = 0.0
    for name, tensor in tensors.items():
        if _DOWN.search(name):
            layer = _DOWN.sub("", name)
            other = name.replace(".lora_down.", ".lora_up.").replace(".lora_A.", ".lora_B.").replace(".down.", ".up.")
            a, b = tensor.flatten(1).double(), tensors[other].flatten(1).double()
            alpha = float(tensors[f"{layer}.alpha"]) if f"{layer}.alpha" in tensors else float(len(a))
            total += (alpha / len(a)) ** 2 * float(((b.T @ b) * (a @ a.T)).sum())
    return total
