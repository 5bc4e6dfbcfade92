"""Smaller models: structured channel pruning by magnitude, before fine-tuning on coalitions (methods.md 10.2).

A network of the diffusers class ``UNet2DModel`` with G normalisation groups becomes an ordinary one with G' < G groups,
and with the share G'/G of the channels at every level. Channels that a residual stream, a skip connection or a
normalisation couples are kept or dropped together, in whole groups, so that a kept group is normalised over the
channels that it always had. Their importance is the L2 norm of all weights that write, normalise or read them:

    importance of group g = √(Σ over the layers coupled of their weights along g, w²)    (DepGraph, Fang et al. 2023)

Not every number of the network is carried over as it is:

* The normalisation behind a skip connection spans the channels of both sides. Where both are as wide, one of its
  groups is two neighbouring groups of a side, so groups are dropped in such pairs. Where they are not as wide, groups
  straddle the two sides and are composed anew: this changes the function.
* The frequencies of the time embedding depend on its width, that of the first level. Its first layer is fitted again to
  the outputs that it had, by least squares over t = 0 ... T-1. Behind it the width stays.
* Attention drops whole heads, and channels inside them only where a level becomes narrower than a head.

The channels of the pictures, so the output of the last convolution, are never dropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from whence import artefacts
from whence.credit.coupling import block_size, kept_channels
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.errors import ConfigError, ModelError

KIND = "pruned model"
_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D", "UNetMidBlock2D", None)


def prune(folder: Path, share: float, out: Path) -> Path:
    """Write the model in a diffusers folder with a share of its channels dropped; do nothing if it is there.

    Args:
        folder: The model, as ``whence train`` writes it or as any folder that `DiffusionModel.load` opens.
        share: Share of the channels to drop, in [0, 1); see `pruned`.
        out: Where the smaller one will be: an artefact that is an ordinary diffusers folder too. Its manifest records
            the fingerprint of the model, the share, and channels, groups and parameters before and after.

    Returns:
        `out`.

    Raises:
        ConfigError: The share is out of range.
        ModelError: The network can't be pruned.
        ArtefactError: `folder` holds no model, or `out` is one of another model or share.
        NotFiniteError: A weight of the model is NaN or infinite.
    """
    model = DiffusionModel.load(folder)
    inputs, made = {"model": fingerprint(model)}, {"share": share}
    if artefacts.existing(out, KIND, inputs=inputs, made=made) is None:
        smaller = pruned(model, share)
        facts = {"before": _facts(model), "after": _facts(smaller)}
        with artefacts.create(out, KIND, inputs=inputs, made=made, facts=facts) as part:
            smaller.save(part)
    return out


def pruned(model: DiffusionModel, share: float) -> DiffusionModel:
    """Return a model with the least important share of the channels at every level dropped; `model` stays as it is.

    Args:
        model: A model whose network is a ``UNet2DModel``.
        share: Share of the channels to drop, in [0, 1): the nearest number of pairs of groups (single groups, where G
            is odd or 2); at least one is kept and, where the share isn't 0, at least one dropped.

    Raises:
        ConfigError: The share is out of range.
        ModelError: The network is of another class, has parts that aren't supported, or one group only.

    Example:
        >>> from diffusers import DDPMScheduler
        >>> shape = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
        >>> network = UNet2DModel(8, 1, 1, **shape, block_out_channels=(16, 64), norm_num_groups=8, add_attention=False)
        >>> small = pruned(DiffusionModel(network, DDPMScheduler()), share=0.3)
        >>> small.network.config.block_out_channels, small.network.config.norm_num_groups
        ((12, 48), 6)
    """
    if not 0 <= share < 1:
        raise ConfigError(f"The share of channels to drop is {share}; expected a number from 0 to below 1.")
    network = _require_supported(model.network)
    small = _smaller(network, _groups_kept(network.config["norm_num_groups"], share))
    weights = network.state_dict()
    for (name, dim), index in kept_channels(network, small).items():
        weights[name] = weights[name].index_select(dim, index)
    for name, narrow in _attentions(small).items():
        wide = _attentions(network)[name]
        for weight in (f"{name}.to_q.weight", f"{name}.to_q.bias"):  # a logit is divided by the root of a head's width
            weights[weight] = weights[weight] * (_head(narrow) / _head(wide)) ** 0.5
    if small.time_proj.num_channels != network.time_proj.num_channels:
        weights |= _time_layer(network, small, model.process.timesteps)
    small.load_state_dict({name: tensor.clone() for name, tensor in weights.items()}, assign=True)
    return DiffusionModel(small.eval(), model.scheduler, model.shape)


def _groups_kept(groups: int, share: float) -> int:
    size = block_size(groups)
    blocks = groups // size
    dropped = min(max(round(share * blocks), 1), blocks - 1) if share else 0
    if share and not dropped:
        raise ModelError(
            f"The network has norm_num_groups {groups}, and channels are dropped in whole groups; expected at least 2. "
            "Use the model as it is: share 0."
        )
    return groups - dropped * size


def _smaller(network: UNet2DModel, groups: int) -> UNet2DModel:
    """The same network with `groups` groups and as large a part of the channels, without weights."""
    config: dict[str, Any] = {name: value for name, value in network.config.items() if not name.startswith("_")}
    channels = tuple(width * groups // config["norm_num_groups"] for width in config["block_out_channels"])
    head, attended = config["attention_head_dim"], [one.query_dim for one in _attentions(network).values()]
    narrowest = min(attended, default=0) * groups // config["norm_num_groups"]
    changed = {
        "block_out_channels": channels,
        "norm_num_groups": groups,
        "time_embedding_dim": network.time_embedding.linear_1.out_features,
        "attention_head_dim": min(head, narrowest) if head and attended else head,
    }
    with torch.device("meta"):
        return UNet2DModel(**(config | changed))


@torch.no_grad()
def _time_layer(network: UNet2DModel, small: UNet2DModel, timesteps: int) -> dict[str, Tensor]:
    """The first layer W', b' of the time embedding: min Σ_t ‖W' s'(t) + b' - W s(t) - b‖² over sinusoids s, s'."""
    layer = network.time_embedding.linear_1
    t = torch.arange(timesteps, device=layer.weight.device)
    outputs = network.time_proj(t).double() @ layer.weight.double().T
    given = small.time_proj(t).double()
    ones = torch.ones_like(given[:, :1])
    fitted = torch.linalg.lstsq(torch.cat([given, ones], 1).cpu(), outputs.cpu(), driver="gelsd").solution.to(
        layer.weight
    )
    return {
        "time_embedding.linear_1.weight": fitted[:-1].T,
        "time_embedding.linear_1.bias": layer.bias + fitted[-1],
    }


def _attentions(network: UNet2DModel) -> dict[str, Any]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, Attention)}


def _head(attention: Any) -> int:
    """Channels of a head."""
    return int(attention.inner_dim // attention.heads)


def _facts(model: DiffusionModel) -> dict[str, Any]:
    network: Any = model.network
    return {
        "channels": list(network.config["block_out_channels"]),
        "groups": network.config["norm_num_groups"],
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }


def _require_supported(network: nn.Module) -> UNet2DModel:
    """Refuse networks whose parts the layout of `whence.credit.coupling` doesn't know."""
    if not isinstance(network, UNet2DModel):
        raise ModelError(f"A {type(network).__name__} can't be pruned; a UNet2DModel of diffusers can.")
    config = network.config
    allowed = {
        "time_embedding_type": ("positional",),
        "resnet_time_scale_shift": ("default",),
        "downsample_type": ("conv",),
        "upsample_type": ("conv",),
        "attn_norm_num_groups": (None, config["norm_num_groups"]),
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "mid_block_type": _BLOCKS[4:],
    }
    found = [(name, config[name], known) for name, known in allowed.items()]
    found += [("down_block_types", one, _BLOCKS[:2]) for one in config["down_block_types"]]
    found += [("up_block_types", one, _BLOCKS[2:4]) for one in config["up_block_types"]]
    for name, value, known in found:
        if value not in known:
            raise ModelError(
                f"A network with {name} {value!r} can't be pruned; expected {' or '.join(map(repr, known))}. "
                "Use the model as it is: share 0."
            )
    return network
