"""Formats of adapters: what the names of tensors mean in the files of diffusers, PEFT and kohya's trainer.

A name is that of a layer and a side. For the layer ``attn.to_q`` of a network, the names of A are

    unet.attn.to_q.lora_A.weight                diffusers; without ``unet.`` if saved by the network itself
    unet.attn.processor.to_q_lora.down.weight   attention processors of diffusers before 0.20
    unet.attn.to_q.lora.down.weight             diffusers before 0.22
    base_model.model.attn.to_q.lora_A.weight    PEFT
    lora_unet_attn_to_q.lora_down.weight        kohya, with the scale in lora_unet_attn_to_q.alpha

B is ``lora_B`` or ``up``. In the names of text encoders, ``text_encoder.`` and ``lora_te_`` stand for the network; of
pipelines with two, ``text_encoder_2.``, ``lora_te1_`` and ``lora_te2_`` too. ``transformer.`` is a network that is one,
see also `transformer_names`. Files of kohya's trainer for Stable Diffusion XL name the blocks of a UNet as the code
before diffusers did, such as ``lora_unet_input_blocks_4_1_proj_in``; a network tells which layer that is, see
`whence.diffusion.adapters.layers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from whence.errors import ModelError

NETWORK, TEXT_ENCODER, TEXT_ENCODER_2 = "unet", "text_encoder", "text_encoder_2"
#: A network in the files of pipelines whose network is a transformer; it is the part `NETWORK` here.
TRANSFORMER = "transformer"
PEFT_PREFIX = "base_model.model."
_SIDE = re.compile(r"(?P<join>\.lora_linear_layer\.|[._]lora\.|\.lora_)(?P<side>A|B|down|up)(?:\.[^.]+)?\.weight")
_PROCESSOR = {NETWORK: {"to_out": "to_out.0"}, TEXT_ENCODER: {f"to_{part}": f"{part}_proj" for part in "qkv"}}
_PROCESSOR[TEXT_ENCODER]["to_out"] = "out_proj"
_PROCESSOR[TEXT_ENCODER_2] = _PROCESSOR[TEXT_ENCODER]
#: Adapters that are not A and B of a layer, by what their names contain.
_KINDS = (
    (r"\.dora_scale|\.lora_magnitude_vector", "DoRA"),
    (r"\.hada_", "LoHa"),
    (r"\.lokr_", "LoKr"),
    (r"\.oft_", "OFT"),
    (r"\.lora_mid", "LoCon with a Tucker core"),
    (r"\.lora_embedding_", "LoRA of embeddings"),
    (r"lora_(B(\.[^.]+)?|up)\.bias$", "LoRA with biases"),
    (r"\.diff(_b)?$", "full differences of weights"),
    (r"\.on_input$", "IA3"),
)
#: Adapters of other models, by what their names begin with.
_FOREIGN = (
    (r"diffusion_model\.", "a network by the names of its own code"),
    (r"text_encoder_3\.|lora_te3_", "T5, whose adapters diffusers doesn't read"),
    (r"lora_unet_joint_blocks", "Stable Diffusion 3 by kohya's trainer, whose names diffusers doesn't convert"),
    (r"lora_transformer_", "a transformer by kohya's names, which diffusers doesn't convert"),
)


class Place(NamedTuple):
    """What a tensor is: of the network or of a text encoder, of which layer, and its side: A, B or alpha."""

    part: str
    layer: str
    side: str


def require_low_rank(source: str, keys: Iterable[str]) -> None:
    """Check that the names in a file are not those of another kind of adapter.

    Raises:
        ModelError: They are.
    """
    for key in keys:
        for pattern, kind in _KINDS:
            if re.search(pattern, key):
                raise ModelError(unsupported(source, kind, f"it has the tensor {key}"))


def require_known(source: str, keys: Iterable[str]) -> None:
    """Check that the names in a file are those of LoRA for a network and its text encoder.

    Raises:
        ModelError: They are for another kind of model, or unknown.
    """
    for key in keys:
        for pattern, model in _FOREIGN:
            if re.match(pattern, key):
                raise ModelError(
                    f"{source} was made for {model} (it has the tensor {key}); expected one for the network and text "
                    "encoder of the model. Give an adapter that was trained on this model."
                )
        if place(key, NETWORK) is None:
            raise ModelError(
                f"{source} has the tensor {key}, whose meaning isn't known; expected A and B (or down and up) of "
                "layers. Save the adapter again with diffusers: pipeline.save_lora_weights."
            )


def unsupported(source: str, kind: str, reason: str) -> str:
    """The message on an adapter of a kind that is not read."""
    return (
        f"{source} is an adapter of another kind, {kind} ({reason}); expected LoRA, with A and B for each layer. Put "
        "it into the model with the program that made it, and give the folder of that model."
    )


def place(key: str, bare: str) -> Place | None:
    """Return what the tensor of this name is, None if it isn't known; a name without prefix is of the part `bare`.

    Example:
        >>> place("unet.attn1.processor.to_out_lora.up.weight", NETWORK)
        Place(part='unet', layer='attn1.to_out.0', side='B')
    """
    part, name = _part(key, bare)
    if name.endswith(".alpha"):
        return Place(part, _layer(name.removesuffix(".alpha"), part, False), "alpha")
    match = _SIDE.search(name)
    if match is None or match.end() != len(name) or not match.start():
        return None
    side = "A" if match["side"] in ("A", "down") else "B"
    return Place(part, _layer(name[: match.start()], part, match["join"] == "_lora."), side)


def _part(key: str, bare: str) -> tuple[str, str]:
    """The part of a tensor, and its name without the prefix of the part."""
    name = key.removeprefix(PEFT_PREFIX)
    for part in (NETWORK, TRANSFORMER, TEXT_ENCODER, TEXT_ENCODER_2):
        if name == key and name.startswith(f"{part}."):
            return NETWORK if part == TRANSFORMER else part, name.removeprefix(f"{part}.")
    for prefix, part in (("lora_unet_", NETWORK), ("lora_te1_", TEXT_ENCODER), ("lora_te2_", TEXT_ENCODER_2)):
        if name.startswith(prefix):
            return part, name
    return (TEXT_ENCODER if name.startswith(("lora_te_", "text_model.")) else bare), name


def _layer(name: str, part: str, of_processor: bool) -> str:
    """The name of the layer; an attention processor has its own names for those beside it."""
    name = name.replace(".processor.", ".")
    before, point, last = name.rpartition(".")
    return before + point + _PROCESSOR[part].get(last, last) if of_processor else name
