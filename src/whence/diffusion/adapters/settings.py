"""The settings of an adapter that PEFT trained: its scale, and whether it is plain LoRA."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whence.artefacts import read_json
from whence.diffusion.adapters.formats import NETWORK, TEXT_ENCODER, TEXT_ENCODER_2, TRANSFORMER, unsupported
from whence.diffusion.adapters.low_rank import common_scale
from whence.errors import ArtefactError, ModelError

#: Where diffusers writes the settings in the header of a .safetensors file.
HEADER_KEY = "lora_adapter_metadata"
SETTINGS_FILE = "adapter_config.json"
#: Settings of PEFT that make more of an adapter than A and B of its layers, and what it is called then.
_BEYOND = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "arrow_config": "Arrow",
    "lora_bias": "LoRA with biases",
    "layer_replication": "LoRA of repeated layers",
    "modules_to_save": "LoRA with whole layers",
    "trainable_token_indices": "LoRA with tokens",
    "target_parameters": "LoRA of parameters",
}
#: Starting points of training with names, of those that leave the weights of the base model as they are.
_STARTS = ("gaussian", "eva", "orthogonal")


class LoraSettings(BaseModel):
    """The settings of PEFT that decide about ΔW; the others are left out."""

    model_config = ConfigDict(frozen=True, extra="allow")

    r: int = Field(gt=0)
    lora_alpha: float = Field(allow_inf_nan=False)
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False
    peft_type: str = "LORA"
    bias: str = "none"
    init_lora_weights: bool | str | None = True
    auto_mapping: dict[str, Any] | None = None

    @property
    def part(self) -> str:
        """What was trained, by the class of the model."""
        name = str((self.auto_mapping or {}).get("base_model_class"))
        if "Text" not in name:
            return NETWORK
        return TEXT_ENCODER_2 if "WithProjection" in name else TEXT_ENCODER

    def scale(self, source: str, layer: str, rank: int) -> float:
        """Return s of a layer whose A has so many rows.

        Raises:
            ModelError: The settings say another rank.
        """
        stated = _by_pattern(self.rank_pattern, layer, self.r)
        if stated != rank:
            raise ModelError(
                f"{source} has A of rank {rank} for the layer {layer!r}; its settings say {stated}. Weights and "
                "settings are of two adapters: give a file and the settings that were saved with it."
            )
        return common_scale(_by_pattern(self.alpha_pattern, layer, self.lora_alpha), rank, self.use_rslora)


def _by_pattern(patterns: Mapping[str, float], layer: str, default: float) -> float:
    """The value of the first pattern that the end of the layer's name matches, as PEFT finds it."""
    return next((value for key, value in patterns.items() if _end(key).match(layer)), default)


def _end(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(.*\.)?({pattern})$")


def read_settings(file: Path, header: Mapping[str, str], source: str) -> dict[str, LoraSettings]:
    """Return the settings of the parts of an adapter, from the header of its file or from the file of PEFT beside it.

    The first part is that of the layers whose names have no prefix.

    Raises:
        ArtefactError: They are damaged.
        ModelError: They are those of another kind of adapter.
    """
    beside = file.with_name(SETTINGS_FILE)
    if HEADER_KEY in header:
        try:
            found = json.loads(header[HEADER_KEY])
        except (ValueError, RecursionError) as error:
            raise ArtefactError(
                f"{file} is damaged: its header has no settings of LoRA in {HEADER_KEY}: {error}."
            ) from None
        return {part: _settings(own, source) for part, own in _by_part(found, file).items()}
    if file.name == "adapter_model.safetensors" and beside.is_file():
        settings = _settings(read_json(beside), source)
        return dict.fromkeys((settings.part, NETWORK, TEXT_ENCODER, TEXT_ENCODER_2), settings)
    return {}


def _by_part(found: Any, file: Path) -> dict[str, dict[str, Any]]:
    """Settings by part, which prefixes name; without a prefix they are the network's."""
    if not isinstance(found, dict):
        raise ArtefactError(f"{file} is damaged: the settings of LoRA in its header are no mapping.")
    parts: dict[str, dict[str, Any]] = {}
    for key, value in found.items():
        known = (NETWORK, TRANSFORMER, TEXT_ENCODER, TEXT_ENCODER_2)
        part = next((part for part in known if key.startswith(f"{part}.")), None)
        name = key.removeprefix(f"{part}.")
        parts.setdefault(NETWORK if part in (None, TRANSFORMER) else part, {})[name] = value
    return {part: parts[part] for part in (NETWORK, TEXT_ENCODER, TEXT_ENCODER_2) if part in parts}


def _settings(found: Any, source: str) -> LoraSettings:
    """The settings, which must be those of plain LoRA."""
    try:
        settings = LoraSettings.model_validate(found)
        for pattern in (*settings.rank_pattern, *settings.alpha_pattern):
            _end(pattern)
    except (ValidationError, re.error, RecursionError) as error:
        problem = str(error).splitlines()
        raise ArtefactError(
            f"The settings of {source} can't be read: {' '.join(problem[:3])}. Take the file from a copy, or save the "
            "adapter again with the program that made it."
        ) from None
    beyond = [(key, kind) for key, kind in _BEYOND.items() if (settings.model_extra or {}).get(key)]
    if settings.peft_type != "LORA":
        beyond.append(("peft_type", settings.peft_type))
    if settings.bias != "none":
        beyond.append(("bias", "LoRA with biases"))
    start = settings.init_lora_weights
    if isinstance(start, str) and start.lower() not in _STARTS:
        beyond.append(("init_lora_weights", f"LoRA begun with {start}"))
    if beyond:
        raise ModelError(unsupported(source, beyond[0][1], f"its settings have {beyond[0][0]}"))
    return settings
