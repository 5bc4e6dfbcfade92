"""The family of DiT, which draws latents of a class by a transformer (Peebles & Xie 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel
from diffusers.models.embeddings import LabelEmbedding
from torch import Tensor, nn

from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.class_names import ID_TO_LABEL, LABELS, ClassNames
from whence.diffusion.families.family import Family, from_config
from whence.diffusion.families.network_call import set_call
from whence.diffusion.families.pipeline_folder import read_autoencoder
from whence.diffusion.families.reference import Reference
from whence.diffusion.families.stable_diffusion import refuse_write
from whence.diffusion.folders import read_mapping, read_network, read_scheduler
from whence.errors import ArtefactError, ModelError

PIPELINE = "DiTPipeline"


def _read(folder: Path) -> tuple[nn.Module, Any]:
    """The network and the scheduler in a folder."""
    place = folder / "transformer"
    require_channels(place)
    network = _without_dropout(read_network(place, DiTTransformer2DModel))
    return set_call(network, _arguments, without_variance), read_scheduler(folder)


def _without_dropout(network: nn.Module) -> nn.Module:
    """Return the network without its own dropout of labels: `training.caption_dropout` drops them, and is recorded."""
    for module in network.modules():
        if isinstance(module, LabelEmbedding):
            module.dropout_prob = 0.0
    return network


def _untrained(network: nn.Module) -> nn.Module:
    return _without_dropout(from_config(DiTTransformer2DModel)(network))


def require_channels(place: Path) -> None:
    """Refuse networks that return something else than a prediction, or a prediction and a variance."""
    config = read_mapping(place / "config.json")
    inputs = config.get("in_channels", 4)
    outputs = config.get("out_channels") or inputs
    if outputs not in (inputs, 2 * inputs):
        raise ModelError(
            f"The network in {place} returns {outputs} channels for {inputs}; expected as many, or twice as many with "
            "a learned variance."
        )


def _arguments(x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    return (x_t, t), {LABELS: conditions[LABELS]}


def without_variance(output: Tensor, given: tuple[Any, ...], _named: dict[str, Any]) -> Tensor:
    """The prediction; a learned variance (Nichol & Dhariwal 2021) in the second half of the channels is left out."""
    return output[:, : given[0].shape[1]]


def _classes(folder: Path, _adapters: tuple[Adapter, ...] = ()) -> ClassNames:
    """The classes by ``id2label``; the label after the last is that of no class."""
    count = read_mapping(folder / "transformer" / "config.json").get("num_embeds_ada_norm", 1000)
    if not isinstance(count, int):
        raise ArtefactError(f"{folder / 'transformer' / 'config.json'} has no number of classes (num_embeds_ada_norm).")
    return ClassNames.of(count, count, read_mapping(folder / "model_index.json").get(ID_TO_LABEL))


class _Reference(Reference):
    """A `DiTPipeline`, which draws from noise of its own: so its steps are done here with its network."""

    def conditions(self, prompt: str) -> dict[str, Tensor]:
        """The label."""
        label = self.pipeline.get_label_ids([prompt]) if self.pipeline.labels else [int(prompt)]
        return {LABELS: torch.tensor(label)}

    def output(self, x_t: Tensor, t: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        """What the network predicts, without the variance."""
        returned: Tensor = self.network(x_t, timestep=t, class_labels=conditions[LABELS]).sample
        return returned[:, : x_t.shape[1]]

    def _guided(self, x: Tensor, t: Tensor, prompt: str, guidance: float) -> Tensor:
        null = {LABELS: torch.tensor([self.network.config.num_embeds_ada_norm])}
        output, away = self.output(x, t, self.conditions(prompt)), self.output(x, t, null)
        return away + guidance * (output - away)


DIT = Family(
    DiTTransformer2DModel,
    _read,
    refuse_write(PIPELINE),
    _untrained,
    pipelines=(PIPELINE,),
    codec=read_autoencoder,
    text=_classes,
    reference=_Reference,
)
