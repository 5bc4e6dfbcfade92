"""Training one diffusion model or adapter: recorded, resumable to the last bit, with weights of examples; its cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.cost import Cost, counted, median_seconds, peak_memory
from whence.data import Dataset
from whence.diffusion.adapter_request import AdapterRequest
from whence.diffusion.denoiser import NO_CONDITIONS
from whence.diffusion.latent_request import LatentRequest
from whence.diffusion.latents import Latents
from whence.diffusion.loop import Loop
from whence.diffusion.memory import LARGE
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training_request import NetworkRequest, TrainingRequest
from whence.engine import DEFAULT, Engine, one_thread
from whence.errors import ConfigError, DataError


def train(
    data: Dataset,
    path: str | Path,
    config: Config | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    start: DiffusionModel | None = None,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    base: str | Path | None = None,
    encoding: Path | None = None,
    autoencoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
    engine: Engine = DEFAULT,
    patience: float = 0.0,
) -> Manifest:
    """Train one model or adapter and record the run; an interrupted run goes on, and a finished run is left as it is.

    A step minimises  Σ_n w_n ℓ_n / B  over its batch of B examples (never divided by Σ w), so that "without unit u" can
    mean the same run with weight 0. The directory is a diffusers folder with the averaged weights, plus ``record/``
    (what every step saw), ``checkpoints/`` (raw weights), ``examples.parquet`` and ``config.toml``.

    With a `base` only a LoRA adapter is trained, on latents and captions, by the settings `config.adapter`. The
    directory then has ``pytorch_lora_weights.safetensors`` in place of a model, and ``encoding/``. Nothing of the base
    is copied: the manifest has its fingerprints, and the path as it is given here. With an `autoencoder` a network is
    trained on its latents, and with a `text_encoder` on captions too; the directory has copies of them.

    Args:
        data: The training examples.
        path: The run directory.
        config: Settings of model, training and adapter.
        weights: Weight w_n in the loss by example id, times the weights of the data; 1 where absent.
        start: A model from whose weights training goes on as a new run, with moments of zero. It is not changed, and
            `config.model` does not matter. Default: new weights.
        conditions: Further arguments of the network of `start` by name, with one row for each training example.
        base: The folder of the text-to-image model that an adapter is trained on, or ``styles``; it is not changed.
        encoding: Where these images, and perhaps others, are encoded for the base or by the encoders; default: in the
            run directory.
        autoencoder: The folder of an autoencoder, or of a pipeline that has one, or ``styles``; it is not changed.
        text_encoder: The folder of a StableDiffusionPipeline whose text encoder embeds captions, or ``styles``.
        engine: Where work runs. Its report is called with (steps done, steps in all).
        patience: Seconds to wait for another writer of the same directory.

    Returns:
        The manifest.

    Raises:
        MismatchError, LockedError: The directory holds another run, or another process is writing it.
        ConfigError: A step does not fit into memory; the message names the batch that fits. Settings don't fit the base
            or the encoders.
        DataError: Weights, pictures or conditions don't fit the data or the model, or a weight is not finite.
        ModelError, NotFiniteError: No family is known for the network; the loss is not finite.
        ArtefactError: The base or an encoder is missing or damaged.
    """
    weights = weights or {}
    by_id = _weights(data, weights)
    given: dict[str, Any] = {"start": start, "conditions": conditions, "base": base, "encoding": encoding}
    request = request_of(data, Config.of(config), autoencoder=autoencoder, text_encoder=text_encoder, **given)
    inputs = {"data": data.fingerprint, "weights": artefacts.digest(dict(weights)) if weights else None}
    return _train(request, Path(path), by_id, inputs, engine, patience)


def _train(
    request: TrainingRequest,
    path: Path,
    weights: Mapping[str, float],
    inputs: Mapping[str, Any],
    engine: Engine,
    patience: float,
) -> Manifest:
    """Train what is requested in a directory, from where it is; a finished run is left as it is."""
    inputs, made, training = {**inputs, **request.inputs}, request.made, request.config.training
    manifest = artefacts.existing(path, "model", inputs=inputs, made=made)
    if manifest is not None:
        engine.report(training.steps, training.steps)
        return manifest
    _require_memory(request, engine)
    facts: dict[str, Any] = {"examples": len(request.data), "device": str(engine.device)}
    facts |= {"data": request.data.digests, **request.facts(path)}
    with artefacts.create(path, "model", inputs=inputs, made=made, facts=facts, patience=patience) as folder:
        facts |= _run(request, weights, folder, engine)
    return artefacts.read_manifest(path, "model")


def _run(request: TrainingRequest, weights: Mapping[str, float], folder: Path, engine: Engine) -> dict[str, Any]:
    """Train in the folder of a run from where it is; returns facts for its manifest."""
    examples, config = request.examples(folder), request.config
    w = [weights.get(name, 1.0) for name in examples.ids]
    artefacts.write_table(folder / "examples.parquet", {"id": list(examples.ids), "weight": w})
    artefacts.write_bytes(folder / "config.toml", config.to_toml().encode())
    captions = request.captions()  # before the network, so that the text encoder is not in memory with it
    with one_thread():
        loop = Loop.start(examples, w, config.training, folder, request.model(), captions, engine)
        loop.run(engine)
        request.save(loop.averaged(), folder)
    notes = list(dict.fromkeys([*request.data.notes, *examples.notes]))
    return {"parameters": loop.size, **({"notes": notes} if notes else {})}


def request_of(
    data: Dataset,
    config: Config | None = None,
    *,
    start: DiffusionModel | None = None,
    conditions: Mapping[str, Tensor] = NO_CONDITIONS,
    base: str | Path | None = None,
    encoding: Path | None = None,
    autoencoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
) -> TrainingRequest:
    """Return the request of a training, checked; `train` describes the arguments and the errors."""
    config = config or Config()
    if data.recipe is not None:
        data.recipe.require(config)
    if autoencoder is not None:
        if base is not None or start is not None or conditions:
            raise ConfigError(
                "With an autoencoder a new network is trained on its latents; a base has one of its own. Leave out the "
                "autoencoder, or `base`, `start` and `conditions`."
            )
        return LatentRequest.of(data, config, autoencoder, text_encoder, encoding)
    if text_encoder is not None:
        raise ConfigError(
            "A text encoder is for a new network of latents: give --autoencoder too. A base has one of its own."
        )
    if base is None:
        return NetworkRequest.of(data, config, start, conditions)
    if start is not None or conditions:
        raise ConfigError("An adapter is trained on a base in a folder; leave out `start` and `conditions`.")
    return AdapterRequest.of(data, config, base, encoding)


def _weights(data: Dataset, weights: Mapping[str, float]) -> dict[str, float]:
    """w_n of the examples that have one, by id: those of the data, times those that are given."""
    by_id = dict(zip(data.ids, data.weights, strict=True)) if data.weights else {}
    for name, value in weights.items():
        if not math.isfinite(value):
            raise DataError(f"The weight of training example {name!r} is {value}; it must be a finite number.")
        id = data.ids[data.index_of(name)]
        by_id[id] = by_id.get(id, 1.0) * float(value)
    return by_id


def training_cost(
    data: Dataset,
    config: Config,
    *,
    members: int = 1,
    base: str | Path | None = None,
    autoencoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
    engine: Engine = DEFAULT,
) -> Cost:
    """Cost of training some models: time by a few steps of one in this process, memory and disk by counting."""
    encoders: dict[str, Any] = {"autoencoder": autoencoder, "text_encoder": text_encoder}
    workers, request = engine.processes(members), request_of(data, config, base=base, **encoders)
    step, loop = _time_step(request)
    weights, examples, training = 4 * loop.size, loop.examples, request.config.training
    record = training.steps * training.batch * 17
    kept = members * (weights * (1 + min(training.checkpoints, training.steps)) + record + request.copied)
    each = sum(condition[[0]].numel() for condition in examples.conditions.values())
    tensors = examples.values.tensors if isinstance(examples.values, Latents) else {"": examples.values}
    encoded = sum(math.prod(one.shape) * one.dtype.itemsize for one in tensors.values())
    encoded += 4 * len(set(data.captions)) * each
    return Cost(
        seconds=-(-members // workers) * training.steps * step,
        memory=peak_memory() * workers,
        disk=kept + workers * 4 * weights + encoded,
        work=f"{members} x {training.steps:,} steps of {step * 1000:.0f} ms, {weights // 4:,} parameters each, "
        f"in {counted(workers)}",
    )


def time_step(request: TrainingRequest) -> tuple[float, DiffusionModel]:
    """Median time in seconds of a few training steps, with one thread, and the model that took them."""
    seconds, loop = _time_step(request)
    return seconds, loop.model


def _time_step(request: TrainingRequest) -> tuple[float, Loop]:
    with _first_loop(request) as loop:
        return median_seconds(loop.one_step, 5), loop


def _require_memory(request: TrainingRequest, engine: Engine) -> None:
    """Check that a step fits into memory, where its batch is large."""
    if request.config.training.batch * request.data.pixels[0].size >= LARGE:
        with _first_loop(request, engine) as loop:
            loop.require_memory()


@contextmanager
def _first_loop(request: TrainingRequest, engine: Engine = DEFAULT) -> Iterator[Loop]:
    """Yield a training run before its first step, whose files are not kept."""
    examples, training = request.stand_in(), request.config.training
    with TemporaryDirectory() as scratch, one_thread():
        captions = request.captions()
        yield Loop.start(examples, [1.0] * len(examples), training, Path(scratch), request.model(), captions, engine)


def weight_bytes(model: DiffusionModel) -> int:
    """Return the bytes of the weights that are trained, in float32."""
    return 4 * sum(p.numel() for p in model.network.parameters() if p.requires_grad)
