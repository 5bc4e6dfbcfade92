"""What is measured of a model, on noise and pictures that all models share: how, at what cost, and how it is kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whence import artefacts
from whence.config import SamplerConfig
from whence.cost import median_seconds
from whence.data import Dataset
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import draw_pictures
from whence.engine import DEFAULT, Engine, silent
from whence.errors import ArtefactError, DataError
from whence.retraining.denoising_losses import measure_losses
from whence.seeds import derived_seed

#: Sampling steps that are timed.
TIMED_STEPS = 3
#: A part of a measurement.
Part = Literal["pictures", "held_out", "losses", "redrawn"]
PARTS: tuple[Part, ...] = ("pictures", "held_out", "losses", "redrawn")


@dataclass(frozen=True)
class MeasurementFormat:
    """How measurements are kept on disk: the kind of artefact, its file, and the name there of each part that is kept.

    With `weights` the fingerprint of the model's weights is kept too.
    """

    kind: str
    file: str
    tensors: Mapping[Part, str]
    weights: bool


#: Measurements of the models of a bank.
RETRAINED = MeasurementFormat("retrained", "measured.safetensors", {"losses": "losses", "redrawn": "pictures"}, True)
#: Measurements of the models of a credit study.
LOOK = MeasurementFormat(
    "look",
    "look.safetensors",
    {"pictures": "pictures", "held_out": "held_out", "losses": "losses", "redrawn": "again"},
    False,
)


@dataclass(frozen=True, eq=False)
class MeasurementPlan:
    """What is measured of every model.

    Attributes:
        names: SEED/INDEX of the K pictures that every model draws.
        held_out: H pictures that training never saw; None for none.
        queries: Q pictures that are explained; None for none.
        drawn: Which queries the full model drew, so that every model can draw them again from the noise of their id,
            bool [Q].
        sampler: How pictures are drawn.
        draws: Draws at which the loss of a picture is measured.
        seed: Seed of these draws.
        prompts: What pictures are drawn from; None for models that take no text.
    """

    names: tuple[str, ...]
    held_out: Dataset | None
    queries: Dataset | None
    drawn: np.ndarray
    sampler: SamplerConfig
    draws: int = 32
    seed: int = 0
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        count = len(self.queries) if self.queries is not None else 0
        if self.drawn.dtype != bool or self.drawn.shape != (count,):
            raise DataError(f"Which of {count} queries were drawn is {self.drawn.dtype} {self.drawn.shape}.")

    @property
    def redrawn(self) -> tuple[str, ...]:
        """Ids of the G queries that every model draws again."""
        names = self.queries.ids if self.queries is not None else ()
        return tuple(name for name, drawn in zip(names, self.drawn, strict=True) if drawn)

    @property
    def sizes(self) -> dict[Part, int]:
        """Rows of each part of a whole measurement."""
        return {
            "pictures": len(self.names),
            "held_out": len(self.held_out) if self.held_out is not None else 0,
            "losses": len(self.drawn),
            "redrawn": len(self.redrawn),
        }


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of a model; a part that was not measured has no rows.

    Attributes:
        pictures: The K pictures that every model draws, uint8 [K, C, H, W].
        held_out: Mean loss of every held-out picture, float64 [H].
        losses: Mean loss of every query, float64 [Q].
        redrawn: The G drawn queries, drawn again from the same noise, uint8 [G, C, H, W].
        weights: Fingerprint of the model's weights; None where it is not known.
    """

    pictures: np.ndarray
    held_out: np.ndarray
    losses: np.ndarray
    redrawn: np.ndarray
    weights: str | None = None

    def write(
        self,
        path: Path,
        layout: MeasurementFormat,
        inputs: Mapping[str, Any],
        made: Mapping[str, Any],
        patience: float = 0.0,
    ) -> None:
        """Write the measurement as an artefact, see `artefacts.ensure`; one that is there is left as it is."""

        def build(part: Path) -> dict[str, Any]:
            tensors = {name: artefacts.to_tensor(getattr(self, own)) for own, name in layout.tensors.items()}
            artefacts.write_tensors(part / layout.file, tensors)
            return {"weights": self.weights} if layout.weights else {}

        artefacts.ensure(path, layout.kind, inputs=inputs, made=made, build=build, patience=patience)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path, layout: MeasurementFormat) -> Measurement:
        """Return what `write` wrote, checked by hash.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        manifest = artefacts.read_verified(path, layout.kind)
        tensors = artefacts.read_tensors(path / layout.file)
        if set(tensors) != set(layout.tensors.values()):
            raise ArtefactError(
                f"{path} is not a whole {layout.kind}: it has {sorted(tensors)}, expected "
                f"{sorted(layout.tensors.values())}."
            )
        kept = {part: tensors[name].numpy() for part, name in layout.tensors.items()}
        empty: dict[Part, np.ndarray] = {"pictures": kept["redrawn"][:0], "held_out": np.zeros(0)}
        return cls(**(empty | kept), weights=manifest.facts.get("weights"))


def measure(
    model: DiffusionModel, plan: MeasurementPlan, parts: Collection[Part] = PARTS, engine: Engine = DEFAULT
) -> Measurement:
    """Return what is measured of a model; a picture or a loss does not depend on what else is measured.

    Losses are mean squared errors per element of the network's output; larger is a worse fit. Nothing is reported.

    Raises:
        NotFiniteError: A loss or a picture is not finite.
    """
    engine = engine.reporting(silent)
    names = plan.names if "pictures" in parts else ()
    redrawn = plan.redrawn if "redrawn" in parts else ()
    unique = tuple(dict.fromkeys((*names, *redrawn)))
    rows = {name: k for k, name in enumerate(unique)}
    pictures = draw_pixels(model, plan.sampler, unique, engine, plan.prompts)
    draws = model.process.draws(derived_seed(plan.seed, "measurement"))

    def losses(data: Dataset | None, part: Part) -> np.ndarray:
        if data is None or part not in parts:
            return np.zeros(0)
        return measure_losses(model, data, draws, plan.draws, engine)

    return Measurement(
        pictures[[rows[name] for name in names]],
        losses(plan.held_out, "held_out"),
        losses(plan.queries, "losses"),
        pictures[[rows[name] for name in redrawn]],
        fingerprint(model),
    )


def draw_pixels(
    model: DiffusionModel,
    sampler: SamplerConfig,
    names: Sequence[str],
    engine: Engine = DEFAULT,
    prompts: Prompts | None = None,
) -> np.ndarray:
    """Return the pictures SEED/INDEX as the model draws them from prompts, uint8 [G, C, H, W]."""
    if not names:
        return np.zeros((0, *model.codec.picture_size(model.size)), np.uint8)
    conditions, guidance = Encoders.of(model).prompted(prompts, names)
    return model.codec.decode(draw_pictures(model, sampler, names, engine, None, conditions, guidance))


def time_drawing(
    model: DiffusionModel, sampler: SamplerConfig, names: Sequence[str], prompts: Prompts | None = None
) -> float:
    """Return the seconds that drawing the pictures SEED/INDEX takes one model, measured on one batch and few steps."""
    if not names:
        return 0.0
    short = sampler.model_copy(update={"steps": min(TIMED_STEPS, sampler.steps)})
    seconds = median_seconds(partial(draw_pixels, model, short, names[: sampler.batch_size], prompts=prompts), 1)
    return seconds * -(-len(names) // sampler.batch_size) * sampler.steps / short.steps
