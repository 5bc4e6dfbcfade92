"""Files of adapters: reading those that people hold, and writing one that diffusers opens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from whence.artefacts import write_bytes
from whence.diffusion.adapters.adapter import FILE_NAMES, Adapter
from whence.diffusion.adapters.formats import (
    NETWORK,
    PEFT_PREFIX,
    TEXT_ENCODER,
    TEXT_ENCODER_2,
    TRANSFORMER,
    place,
    require_known,
    require_low_rank,
)
from whence.diffusion.adapters.low_rank import FLAT_PREFIXES, AdapterWeights, LowRank, plain_name
from whence.diffusion.adapters.settings import SETTINGS_FILE, LoraSettings, read_settings
from whence.diffusion.adapters.transformer_names import diffusers_names
from whence.errors import ArtefactError, ModelError, NotFiniteError, join_names

#: Tensors of one layer by side: A, B and alpha.
Sides = dict[str, Tensor]


def read_adapter(adapter: Adapter) -> AdapterWeights:
    """Return the low-rank weights of an adapter, float32, with ΔW = scale · B A; nothing is unpickled or downloaded.

    The scale is strength · α / r, or strength · α / √r of rank-stabilised LoRA. Where nothing states α, it is r, as in
    the programs that leave it out. Names of layers are those in the file, without the prefix of a format; those of
    kohya's trainer have underscores for points, and `attach` finds the layer.

    Raises:
        ArtefactError: The file is missing, damaged, empty or pickled, or lacks the settings that state its scale.
        ModelError: It is no LoRA, is of another kind of model, changes nothing, or has an A without B.
        NotFiniteError: A weight is NaN or infinite.

    Example:
        >>> import tempfile
        >>> weights = AdapterWeights({"conv_in": LowRank(torch.ones(1, 2), torch.ones(3, 1), scale=2.0)})
        >>> folder = Path(tempfile.mkdtemp())
        >>> file = write_adapter(folder, weights)
        >>> read_adapter(Adapter(folder, strength=0.5)).network["conv_in"].delta()[0]
        tensor([1., 1.])
    """
    file, source = adapter.weights_file, str(adapter.file)
    tensors, header = _read(file, source)
    settings = read_settings(file, header, source)
    if any(key.startswith(PEFT_PREFIX) for key in tensors) and not settings:
        raise ArtefactError(
            f"{source} is of PEFT, and {file.with_name(SETTINGS_FILE)} does not exist, so its scale isn't known. Copy "
            "the file from where the adapter was saved."
        )
    parts: dict[str, dict[str, LowRank]] = {NETWORK: {}, TEXT_ENCODER: {}, TEXT_ENCODER_2: {}}
    for part, name, sides in _layers(tensors, next(iter(settings), NETWORK), source):
        if settings and part not in settings:
            raise ArtefactError(
                f"{source} has weights of the {part}, but its settings are of the {join_names(list(settings))} only, "
                "so their scale isn't known. Save the adapter again, with the settings of both."
            )
        low_rank = _low_rank(sides, name, settings.get(part), adapter.strength, source)
        parts[part][name] = LowRank(low_rank.A, low_rank.B / adapter.scale, low_rank.scale * adapter.scale)
    if all(layer.is_zero for layers in parts.values() for layer in layers.values()):
        raise ModelError(
            f"{source} changes nothing: B A is zero in all of its layers. Give an adapter that was trained."
        )
    network = TRANSFORMER if any(key.startswith(f"{TRANSFORMER}.") for key in tensors) else NETWORK
    return AdapterWeights(parts[NETWORK], parts[TEXT_ENCODER], parts[TEXT_ENCODER_2], source, network)


def _read(file: Path, source: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a file of LoRA."""
    try:
        with safe_open(file, framework="pt") as stored:
            keys, header = list(stored.keys()), dict(stored.metadata() or {})
            require_low_rank(source, keys)
            tensors = diffusers_names({key: _numbers(stored.get_tensor(key)) for key in keys}, source)
            require_known(source, tensors)
    except ModelError:
        raise
    except Exception as error:
        raise ArtefactError(
            f"{file} can't be read as a .safetensors file ({error}). Take it from a copy, or download it again."
        ) from None
    if not tensors:
        raise ArtefactError(f"{file} is empty: it has no tensors. Take it from a copy, or download it again.")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise NotFiniteError(f"{source} has weights {name} that are not finite; take it from a copy.")
    return tensors, header


def _numbers(tensor: Tensor) -> Tensor:
    """A copy in float32, out of the memory of the file."""
    if not tensor.is_floating_point() and tensor.numel() != 1:
        raise TypeError(f"it has a tensor of {tensor.dtype}; expected floating point numbers")
    return tensor.to(torch.float32, copy=True)


def _layers(tensors: Mapping[str, Tensor], bare: str, source: str) -> Iterator[tuple[str, str, Sides]]:
    """The part, the name and the tensors of each layer."""
    found: dict[tuple[str, str], tuple[str, Sides]] = {}
    for key, tensor in tensors.items():
        here = place(key, bare)
        assert here is not None  # `require_known` refuses such names.
        _, sides = found.setdefault((here.part, plain_name(here.layer)), (here.layer, {}))
        if here.side in sides:
            raise ModelError(
                f"{source} has {here.side} of the layer {here.layer!r} twice, the second time as {key}. Save the "
                "adapter again in one format."
            )
        sides[here.side] = tensor
    for (part, _), (name, sides) in found.items():
        missing = sorted({"A", "B"} - set(sides))
        if missing:
            raise ModelError(
                f"{source} has {' and '.join(sorted(sides))} of the layer {name!r}, but no {' and '.join(missing)}. "
                "The file is incomplete; take it from a copy."
            )
        yield part, name, sides


def _low_rank(sides: Sides, name: str, settings: LoraSettings | None, strength: float, source: str) -> LowRank:
    """The weights of a layer, which must fit each other."""
    a, b = sides["A"], sides["B"]
    shapes = f"A {'x'.join(map(str, a.shape))} and B {'x'.join(map(str, b.shape))}"
    if a.dim() not in (2, 4) or b.dim() != a.dim() or not a.numel() or not b.numel() or b[0, 0].numel() != 1:
        raise ModelError(
            f"{source} has {shapes} of the layer {name!r}; expected matrices, or the kernels of a convolution and of "
            "one over single pixels."
        )
    rank = len(a)
    if b.shape[1] != rank:
        raise ModelError(
            f"{source} has {shapes} of the layer {name!r}, of ranks {rank} and {b.shape[1]}; expected one rank."
        )
    if settings and "alpha" in sides:
        raise ModelError(
            f"{source} states the scale of the layer {name!r} twice, in its settings and in alpha. Save the adapter "
            "again with diffusers."
        )
    scale = settings.scale(source, name, rank) if settings else 1.0
    if "alpha" in sides:
        if sides["alpha"].numel() != 1:
            raise ModelError(
                f"{source} has {sides['alpha'].numel()} numbers as alpha of the layer {name!r}; expected one."
            )
        scale = float(sides["alpha"]) / rank
    if not math.isfinite(strength * scale):
        raise NotFiniteError(f"{source} has a scale of {scale:g} for the layer {name!r}; take it from a copy.")
    return LowRank(a, b, strength * scale)


def write_adapter(folder: Path, weights: AdapterWeights, metadata: Mapping[str, str] | None = None) -> Path:
    """Write an adapter as a file that ``load_lora_weights`` of a pipeline opens.

    The scale is multiplied into B, so that every reader finds the same ΔW, whether it knows of a scale or not.

    Args:
        folder: Where ``pytorch_lora_weights.safetensors`` is written.
        weights: With names of layers as a network has them; see `low_rank_weights`.
        metadata: Text for the header of the file, by key.

    Returns:
        The file.

    Raises:
        ModelError: Names of layers are those of kohya's trainer.
    """
    tensors = adapter_tensors(weights)
    file = folder / FILE_NAMES[0]
    write_bytes(file, save(tensors, {"format": "pt", **(metadata or {})}))
    return file


def adapter_tensors(weights: AdapterWeights) -> dict[str, Tensor]:
    """The tensors of an adapter by their names in a file of diffusers, with the scale in B."""
    tensors = {}
    parts = {weights.network_part: weights.network, TEXT_ENCODER: weights.text_encoder}
    for part, layers in (parts | {TEXT_ENCODER_2: weights.text_encoder_2}).items():
        for name, layer in layers.items():
            if name.startswith(FLAT_PREFIXES):
                raise ModelError(
                    f"{weights.source} names the layer {name!r} with underscores for points, which diffusers doesn't "
                    "read. Attach it to the network, and write low_rank_weights(network)."
                )
            sides = {"A": layer.A, "B": layer.scale * layer.B}
            for side, tensor in sides.items():
                tensors[f"{part}.{name}.lora_{side}.weight"] = tensor.detach().cpu().contiguous()
    return tensors
