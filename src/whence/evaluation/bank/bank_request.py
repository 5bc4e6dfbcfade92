"""The request for a bank, checked before anything is trained, and what the bank will cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from whence import artefacts
from whence.config import Config, Settings
from whence.cost import Cost, counted, peak_memory
from whence.data import Dataset, class_inputs
from whence.data.dataset_checks import require_one_shape
from whence.diffusion.base import Base
from whence.diffusion.conditioner import Conditioner
from whence.diffusion.encoding import FOLDER
from whence.diffusion.latent_request import LatentRequest
from whence.diffusion.prompts import Prompts
from whence.diffusion.training import request_of, time_step, weight_bytes
from whence.diffusion.training_request import TrainingRequest
from whence.engine import DEFAULT, Engine, cores
from whence.errors import ConfigError, DataError
from whence.evaluation.bank.pool import PoolRequest
from whence.evaluation.bank.stored_bank import KIND
from whence.retraining.denoising_losses import time_losses
from whence.retraining.measurement import time_drawing
from whence.retraining.rule import NO_PARTS, shorten_training

#: Seed of the names of drawn queries.
DRAWN_SEED = 0


class BankConfig(Settings):
    """How many models and queries a bank has, and how it measures them."""

    models: Annotated[int, Field(ge=1)] = Field(4, description="Reference models, trained on everything.")
    held_out: Annotated[int, Field(ge=0)] = Field(100, description="Queries that training never saw.")
    drawn: Annotated[int, Field(ge=0)] = Field(100, description="Queries that the first reference model draws.")
    draws: Annotated[int, Field(ge=1)] = Field(128, description="Draws at which the loss of a query is measured.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of subsets, trainings and measurements.")

    @property
    def drawn_names(self) -> tuple[str, ...]:
        """Names of the drawn queries."""
        return tuple(f"{DRAWN_SEED}/{index}" for index in range(self.drawn))


@dataclass(frozen=True, eq=False)
class BankRequest:
    """A bank to be made.

    Attributes:
        data: The training examples.
        held_out: The held-out queries; None for none.
        config: Settings of a model that is trained on everything, with nothing left open, and of the sampler.
        settings: How many models and queries the bank has, and how it measures them.
        training: The request of the training of a model on everything: of a network, or of an adapter on a base.
        prompts: What the drawn queries are drawn from, see `make`; None for models that take no text.
        encoders: The folders of the autoencoder and the text encoder of networks of latents, by these names.
    """

    data: Dataset
    held_out: Dataset | None
    config: Config
    settings: BankConfig
    training: TrainingRequest
    prompts: Prompts | None = None
    encoders: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        data: Dataset,
        held_out: Dataset | None,
        config: Config | None = None,
        settings: BankConfig | None = None,
        base: str | Path | None = None,
        prompts: Prompts | None = None,
        encoders: Mapping[str, Any] = NO_PARTS,
    ) -> BankRequest:
        """Return a request, checked; `whence.evaluation.bank.make_bank.build_bank` says what is refused.

        Where `prompts` has no words, the captions of the training images take their place, in turn; the guidance stays.

        Raises:
            ConfigError: There are to be no queries, or they can't be drawn.
            DataError: The images have several shapes.
        """
        require_one_shape(data, "A bank")
        settings, encoders = BankConfig.of(settings), {name: one for name, one in encoders.items() if one is not None}
        default = Config() if base is not None else Config().updated("sampler", method="ddim")
        training = request_of(data, default if config is None else Config.of(config), base=base, **encoders)
        config = training.config
        if not settings.held_out + settings.drawn:
            raise ConfigError("A bank without queries measures nothing: ask for held-out or drawn ones.")
        if settings.drawn and config.sampler.steps > config.model.timesteps:
            raise ConfigError(
                f"{config.sampler.steps} sampling steps were asked for; the models have {config.model.timesteps} "
                "timesteps."
            )
        if prompts is not None and base is None and "text_encoder" not in encoders:
            raise ConfigError(
                "There are prompts, and the models take no text. Give --base or --text-encoder, or leave them out."
            )
        text = _text_of(training)
        prompts = None if text is None else _complete(prompts or Prompts(), data).completed(text.guidance)
        return cls(data, _held_out(data, held_out, settings), config, settings, training, prompts, encoders)

    @property
    def base(self) -> Path | None:
        """The folder of the base of models that are adapters."""
        return self.training.base_folder

    def parts(self, bank: Path) -> dict[str, Any]:
        """Folders that the trainings need beside the data, by the names of the arguments of `train`."""
        parts = dict(self.encoders) if self.base is None else {"base": self.base}
        return parts | ({"encoding": bank / FOLDER} if parts else {})

    @property
    def provenance(self) -> dict[str, Mapping[str, Any]]:
        """What the bank is made from, and how, for its manifest."""
        return {
            "inputs": {
                "data": self.data.fingerprint,
                "held_out": self.held_out.fingerprint if self.held_out else None,
                **class_inputs(data=self.data, held_out=self.held_out),
                **self.training.inputs,
            },
            "made": {
                "config": self.config.record(),
                **self.settings.record(),
                **({} if self.prompts is None else {"prompts": self.prompts.record()}),
            },
        }

    def exists_in(self, path: Path) -> bool:
        """Return whether a directory already holds this bank; raise MismatchError if it holds another one."""
        return artefacts.existing(path, KIND, **self.provenance) is not None


def _text_of(training: TrainingRequest) -> Conditioner | None:
    """What makes conditions of captions or class names; None for models without."""
    if isinstance(training, LatentRequest):
        return training.text
    folder = training.base_folder
    return None if folder is None else Base.of(folder, training.config).encoders.text


def _complete(prompts: Prompts, data: Dataset) -> Prompts:
    """The prompts; where none has words, the captions of the training examples in their place, each once."""
    captions = tuple(dict.fromkeys(caption for caption in data.captions if caption))
    return replace(prompts, texts=captions) if captions and not any(prompts.texts) else prompts


def _held_out(data: Dataset, held_out: Dataset | None, settings: BankConfig) -> Dataset | None:
    """Return the first held-out pictures; raise DataError if they don't fit the training examples."""
    count = settings.held_out
    if count == 0:
        return None
    if held_out is None or len(held_out) < count:
        raise DataError(
            f"{count} held-out queries were asked for, there are {len(held_out) if held_out else 0} held-out pictures. "
            "Give data with more of them, or ask for fewer queries."
        )
    if held_out.size != data.size:
        raise DataError(f"Held-out pictures are {held_out.size}, training examples {data.size} (C, H, W).")
    first, fingerprints = held_out.select(range(count)).with_fields(framings=()), set(data.fingerprints)
    both = [name for name, print_ in zip(first.ids, first.fingerprints, strict=True) if print_ in fingerprints]
    if both:
        raise DataError(
            f"{len(both)} of {count} held-out pictures are training examples too, such as {both[0]!r}. Give pictures "
            "that training never sees."
        )
    clash = sorted(set(first.ids) & set(settings.drawn_names))
    if clash:
        raise DataError(f"The held-out picture {clash[0]!r} is named like a drawn one. Give it another id.")
    return first


def bank_cost(
    request: BankRequest,
    pools: Sequence[PoolRequest],
    path: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    keep_models: bool = False,
    engine: Engine = DEFAULT,
) -> Cost:
    """Return the cost of the missing models of a bank: time by measuring a little, memory and disk by counting."""
    data, config, settings = request.data, request.config, request.settings
    step, model = time_step(request.training)
    names, used = settings.drawn_names, engine.workers or cores()
    drawing = time_drawing(model, config.sampler, names, request.prompts)
    losses = time_losses(model, data, settings.draws, settings.held_out + settings.drawn)
    measuring, references = losses + drawing, _missing_references(request, path)
    measured = (path / "reference" / artefacts.MANIFEST).exists()
    seconds = 0.0 if measured else settings.models * measuring + drawing
    seconds += -(-references // used) * config.training.steps * step
    steps, retrained = references * config.training.steps, 0
    for pool in pools:
        missing, each = len(pool.missing(path, shard)), _steps(pool, config, len(data))
        seconds += -(-missing // used) * (each * step + measuring)
        retrained, steps = retrained + missing, steps + missing * each
    weights, queries = weight_bytes(model), settings.held_out + settings.drawn
    measurement = 8 * queries + settings.drawn * math.prod(data.size)
    kept = references + (config.training.checkpoints if references else 0) + (retrained if keep_models else 0)
    record = references * request.training.copied
    record += 17 * config.training.batch * (steps if keep_models else references * config.training.steps)
    work = (
        f"{references} reference and {retrained:,} retrained models: {steps:,} steps of {step * 1000:.0f} ms, "
        f"{weights // 4:,} parameters each, in {counted(used)}. Each is measured on {queries:,} queries in "
        f"{measuring:.1f} s"
    )
    return Cost(
        seconds=seconds,
        memory=peak_memory() * min(used, max(1, references, retrained)),
        disk=kept * weights + record + retrained * measurement + 4 * weights * used + len(data) * math.prod(data.size),
        work=work if references + retrained else "nothing: all of it is there already",
    )


def _missing_references(request: BankRequest, path: Path) -> int:
    """Return how many reference models are still to be trained."""
    if request.exists_in(path):
        return 0
    folder = Path(f"{path}.part") / "models"
    return sum(not (folder / str(k) / artefacts.MANIFEST).exists() for k in range(request.settings.models))


def _steps(pool: PoolRequest, config: Config, examples: int) -> int:
    """Training steps of each model of a pool."""
    if not pool.deterministic:
        config = shorten_training(config, round(pool.fraction * examples), examples)
    return config.training.steps
