"""Making the audit of membership: the statistics of pictures and controls under a model or an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whence import artefacts
from whence.attribution.target import Target
from whence.audit.fits import DRAWS, ModelFit
from whence.audit.low_noise import LowNoiseDraws
from whence.audit.membership import MembershipAudit
from whence.data import Dataset
from whence.data.own_units import OwnUnits
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine, staged
from whence.ensemble.gram import GramLosses, draw_groups, indicator, placebo_sets
from whence.ensemble.loss_draws import losses_batch
from whence.ensemble.make_gram import gram_matrices
from whence.ensemble.model import Ensemble
from whence.ensemble.set_losses import loss_increases
from whence.errors import DataError, join_names
from whence.seeds import derived_seed

#: Code words of nobody with which the units are compared, at most.
PLACEBOS = 20_000


@dataclass(frozen=True)
class Statistics:
    """Statistics of pictures, float64 [K], and of an ensemble the chances by placebos of each and of all of them."""

    values: np.ndarray
    chances: np.ndarray | None = None
    together: float | None = None
    smallest: float | None = None


def audit_membership(
    model: str | Path | DiffusionModel | Ensemble | Target,
    pictures: Dataset,
    controls: Dataset | None,
    out: str | Path,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    engine: Engine = DEFAULT,
) -> MembershipAudit:
    """Return how well a model fits pictures, and controls that it never saw: the way to their chances.

    Controls are pictures of the same kind that training certainly never saw: by the same hand or of the same sort, in
    the same size, saved in the same way. Nothing tells the model's memory from a difference in kind. Without controls
    an ensemble answers a weaker question, by code words of nobody: whether some unit matters for a picture, which it
    also does where the picture is only like training pictures. Captions are used if all have one.

    Args:
        model: A diffusers folder, a run, an ensemble, any `DiffusionModel`, or a `Target`.
        pictures: The pictures in question, in the size of the model.
        controls: Pictures that the model never saw.
        out: The folder of the audit.
        draws: Draws (timestep, noise) of every picture, the same for all; in the quarter with least noise.
        seed: Seed of the draws, and of the halves of the controls.
        engine: Its report is called with (network evaluations done, evaluations in all).

    Raises:
        DataError: Pictures don't fit the model, there are no controls and it is no ensemble, or a control is among the
            pictures, or in the training data of an ensemble.
        MismatchError: The folder holds an audit of something else.
        NotFiniteError: A loss is not finite.
    """
    target = model if isinstance(model, Target) else Target.open(model)
    _require_controls(target, pictures, controls)
    every, notes = joined(target, pictures, controls)
    ensemble = target.ensemble
    opened = target.fingerprint if ensemble is None else ensemble.manifest.fingerprint
    inputs = {"model": opened, "pictures": every.fingerprint}
    made = {"pictures": len(pictures), "draws": draws, "seed": seed}

    def build(part: Path) -> dict[str, Any]:
        examples = target.encoders.encode(every)
        if ensemble is None:
            found = Statistics(_statistics(_fit(target, draws, seed), examples, engine))
        else:
            found = _of_ensemble(ensemble, examples, len(pictures), _fit(target, draws, seed), engine)
        columns: dict[str, Any] = {"id": list(pictures.ids), "statistic": found.values[: len(pictures)]}
        columns |= {} if found.chances is None else {"placebo_chance": found.chances}
        artefacts.write_table(part / "pictures.parquet", columns)
        others = {"id": list(controls.ids) if controls else [], "statistic": found.values[len(pictures) :]}
        artefacts.write_table(part / "controls.parquet", others)
        placebos = None if found.chances is None else {"together": found.together, "smallest": found.smallest}
        return {"notes": notes, "placebos": placebos}

    artefacts.ensure(Path(out), MembershipAudit.kind, inputs=inputs, made=made, build=build)
    return MembershipAudit.open(Path(out))


def _fit(target: Target, draws: int, seed: int) -> ModelFit:
    """The losses of a model at shared draws with little noise."""
    source = target.model.process.draws(derived_seed(seed, "membership"))
    return ModelFit(target, draws, LowNoiseDraws.of(source))


def _statistics(fit: ModelFit, examples: Examples, engine: Engine) -> np.ndarray:
    """log(ℓ_first / ℓ) where the first checkpoint is known, else -ℓ; float64 [N]."""
    size = fit.evaluations(len(examples))
    last, first = staged(engine, [size, size])
    losses, before = fit.losses(examples, last), fit.first_losses(examples, first)
    statistics: np.ndarray = -losses if before is None else np.log(before / losses)
    return statistics


def _of_ensemble(ensemble: Ensemble, examples: Examples, count: int, fit: ModelFit, engine: Engine) -> Statistics:
    """The largest effect of a unit on every picture, and the chances by placebos of the first `count` pictures."""
    model, members, book = ensemble.reference_model, ensemble.open_members(engine=engine), ensemble.codebook
    batch = losses_batch(ensemble)
    grams = gram_matrices(model, members, examples, fit.source, fit.count, batch, engine)
    sets = GramLosses(grams, torch.bincount(draw_groups(fit.count)).double(), book)
    left = book.members - book.weight
    others = placebo_sets(book, 1, left, PLACEBOS)
    if len(others) < 2:
        raise DataError(
            f"The units of {ensemble.path} have all code words but {len(others)}, so nothing can be compared with "
            "placebos. Train more members, or larger units."
        )
    effects = loss_increases(sets, indicator([book.survivors([unit]) for unit in book.units], book.members)).numpy()
    placebos = loss_increases(sets, others).numpy()
    return code_word_statistics(effects, placebos, count)


def code_word_statistics(effects: np.ndarray, placebos: np.ndarray, count: int) -> Statistics:
    """Return the largest effect of a unit on every picture in standard deviations of placebos, with chances by them.

    The chance of a picture is U times (1 + placebos with an effect at least as large) / (1 + P), at most 1: the units
    got their words at random, so for a picture for which no unit matters they are any U of the U + P words. A unit also
    matters for pictures that are only like its own. For the first `count` pictures together the effects of each word
    are added up.

    Args:
        effects: Of U units on Q pictures, float64 [Q, U].
        placebos: Of P code words of nobody, float64 [Q, P].
        count: Pictures whose chances are returned.

    Example:
        >>> placebos = np.tile(np.linspace(-1, 1, 99), (2, 1))
        >>> found = code_word_statistics(np.array([[5.0, 0.0], [5.0, 0.0]]), placebos, 2)
        >>> found.chances.tolist(), found.together, found.smallest
        ([0.02, 0.02], 0.02, 0.02)
    """
    spread = placebos.std(1, keepdims=True)
    spread = np.where(spread > 0, spread, 1.0)
    z, null = ((values - placebos.mean(1, keepdims=True)) / spread for values in (effects, placebos))
    values, units, words = z.max(1), z.shape[1], null.shape[1]
    above = (null[:count] >= values[:count, None]).sum(1)
    together = int((null[:count].sum(0) >= z[:count].sum(0).max()).sum())
    chances = np.minimum(1.0, units * (1 + above) / (1 + words))
    return Statistics(values, chances, min(1.0, units * (1 + together) / (1 + words)), min(1.0, units / (1 + words)))


def joined(target: Target, pictures: Dataset, controls: Dataset | None) -> tuple[Dataset, list[str]]:
    """Return pictures and controls as one data set in the size of the model, and what a reader should know of them.

    Grey pictures become three equal channels for a model of colours. Captions are kept if all pictures have one.

    Raises:
        DataError: Pictures have another size than the model's.
    """
    parts = [pictures] if controls is None else [pictures, controls]
    channels, *sides = target.model.codec.picture_size(target.model.size)
    for part in parts:
        if list(part.size[1:]) != sides or part.size[0] not in (1, channels):
            raise DataError(
                f"The pictures are {part.size} (C, H, W), those of {target.name} {(channels, *sides)}. Give "
                f"--resolution {sides[0]}" + (" and --grey." if part.size[0] > channels else ".")
            )
    pixels = np.concatenate([np.broadcast_to(p.pixels, (len(p), channels, *sides)) for p in parts])
    ids = tuple(f"{noun} {id}" for noun, part in zip(("picture", "control"), parts, strict=False) for id in part.ids)
    captions = tuple(caption for part in parts for caption in part.captions)
    notes = []
    if target.encoders.text is not None and not all(captions):
        captions = (None,) * len(captions)
        notes.append("Not all pictures have a caption, so all are measured with the empty one.")
    return Dataset(ids, pixels, OwnUnits(ids), captions), notes


def _require_controls(target: Target, pictures: Dataset, controls: Dataset | None) -> None:
    """Check that there are controls where they are needed, and that the model can't have seen them.

    Raises:
        DataError: There are none, or one of them is among the pictures or in the training data.
    """
    if controls is None:
        if target.ensemble is None:
            raise DataError(
                "Nothing can be told without comparison pictures: give pictures of the same kind that the model "
                "certainly never saw, --controls FOLDER. About 200 are needed for 1 mistake in 100."
            )
        return
    known = {"among the pictures in question": pictures.fingerprints}
    if target.ensemble is not None:
        known["in the training data"] = target.ensemble.data.fingerprints
    for place, fingerprints in known.items():
        both = set(fingerprints)
        found = [id for id, own in zip(controls.ids, controls.fingerprints, strict=True) if own in both]
        if found:
            raise DataError(f"{len(found)} controls are {place}: {join_names(found)}. Take them out.")
