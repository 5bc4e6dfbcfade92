"""Measuring a game: the models of coalitions are made and measured, and their values computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from whence import artefacts
from whence.credit.behaviours.declaration import Behaviour, Values
from whence.credit.contributors import Contributors
from whence.credit.game import Game
from whence.credit.study import Study
from whence.diffusion.checks import require_size
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.engine import DEFAULT, Engine
from whence.errors import MismatchError, ModelError
from whence.retraining.measurement import Measurement
from whence.retraining.retrain import MODEL_SUFFIX, Retraining, missing_retrainings, retrain

#: Folder of a study with the measurements of the models of coalitions.
FOLDER = "looks"


def measure_game(
    study: Study,
    contributors: Contributors,
    behaviours: Sequence[Behaviour],
    coalitions: np.ndarray,
    *,
    repeats: int = 1,
    mean: bool = True,
    base: Path | None = None,
    engine: Engine = DEFAULT,
) -> Game:
    """Make and measure the models of coalitions that are missing, and return the values of all.

    v(all) is of a model that is made in the same way from everybody's examples, v(∅) of `base`; without one, of an
    untrained network. If the call was interrupted, it continues.

    Args:
        study: The study.
        contributors: The players.
        behaviours: What is measured.
        coalitions: bool [M, U].
        repeats: Training seeds; those of one repeat are the same for all coalitions.
        mean: Whether repeats are averaged; else they are rows of the game, one repeat after another, each with the M
            coalitions and everybody.
        base: The model before any of these examples, such as the one that was fine-tuned.
        engine: Where work runs. Its report is called with (training steps done, steps in all).

    Returns:
        The game.

    Raises:
        MismatchError: The contributors are of other examples; see `Study.start`.
        DataError: A behaviour lacks held-out pictures, queries or classes.
    """
    if contributors.examples != study.data.ids:
        raise MismatchError(
            f"The contributors are of {len(contributors.examples):,} examples, {study.path} compares models of "
            f"{len(study.data):,}, and they are not the same. Take the contributors of the study's data."
        )
    study.measure_full()
    names = tuple(name for behaviour in behaviours for name, _, _ in behaviour.list_rows(study.context))
    functions = [behaviour.prepare(study.context) for behaviour in behaviours]
    inside = with_everybody(coalitions)
    rows = [contributors.kept(row) for row in inside]
    measured = measure_coalitions(study, rows, repeats=repeats, base=base, engine=engine)
    values, none = _values(functions, measured), _values(functions, [[measure_nobody(study, base)]])[0, 0]
    if mean:
        return Game(contributors.names, names, coalitions, values[:-1].mean(1), none, values[-1].mean(0))
    flat = values.transpose(1, 0, 2).reshape(-1, len(names))
    return Game(contributors.names, names, np.tile(inside, (repeats, 1)), flat, none, values[-1].mean(0))


def with_everybody(coalitions: np.ndarray) -> np.ndarray:
    """Return the coalitions and, last, everybody, for v(all): those of which models are made."""
    return np.concatenate([coalitions, np.ones((1, coalitions.shape[1]), bool)])


def values_of(study: Study, behaviours: Sequence[Behaviour], measured: Sequence[Sequence[Measurement]]) -> np.ndarray:
    """Return the values of measurements [M, K], float64 [M, K, B]; `Study.measure_full` was called before."""
    return _values([behaviour.prepare(study.context) for behaviour in behaviours], measured)


def _values(functions: Sequence[Values], measured: Sequence[Sequence[Measurement]]) -> np.ndarray:
    return np.array([[np.concatenate([v(one) for v in functions]) for one in row] for row in measured])


def measure_coalitions(
    study: Study,
    rows: Sequence[np.ndarray],
    *,
    repeats: int = 1,
    base: Path | None = None,
    engine: Engine = DEFAULT,
) -> list[list[Measurement]]:
    """Make and measure the models of some examples, those that are missing, and return the measurements of all.

    Models of equal examples are made once.

    Args:
        study: The study.
        rows: Rows of the examples of each model, ascending; the model of none is `base`.
        repeats: Training seeds of each.
        base: The model before any of these examples.
        engine: Where work runs. Its report is called with (training steps done, steps in all).

    Returns:
        For each model the measurements of all repeats.
    """
    folder, retrainings = study.path / FOLDER, _retrainings(study, rows, repeats)
    models = [folder / f"{retraining.name}{MODEL_SUFFIX}" for retraining in retrainings]
    if missing_retrainings(study, folder, retrainings) or any(model.exists() for model in models):
        with artefacts.lock(folder):
            retrain(study, folder, retrainings, engine=engine)
            for model in models:  # A run that was killed just before it deleted one left it here.
                artefacts.discard(model)
    nobody = None if all(map(len, rows)) else measure_nobody(study, base)

    def read(kept: np.ndarray, repeat: int) -> Measurement:
        path = folder / study.measurement_name(kept, repeat)
        return nobody if nobody and not len(kept) else Measurement.read(path, study.layout)

    return [[read(kept, repeat) for repeat in range(repeats)] for kept in rows]


def missing_models(study: Study, rows: Sequence[np.ndarray], repeats: int = 1) -> list[Retraining]:
    """Return the models that `measure_coalitions` would make, each once.

    Raises:
        MismatchError: A measurement that is there is of another study.
        ArtefactError: A measurement that is there is damaged.
    """
    return missing_retrainings(study, study.path / FOLDER, _retrainings(study, rows, repeats))


def measure_nobody(study: Study, base: Path | None = None) -> Measurement:
    """Measure the model of nobody, if that was not done before, and return its measurement.

    Args:
        study: The study.
        base: The model before any of the examples; without one, a network with the weights that training starts from.

    Returns:
        The measurement.

    Raises:
        DataError: The base model is of pictures of another size.
        ModelError: It predicts something else, or has another number of timesteps, so that losses don't compare.
    """
    if base is None:
        model = study.start.untrained(study.seed(0))
    else:
        model = DiffusionModel.load(base)
        require_size(model, torch.empty(0, *study.data.size), "training images")
        for word in ("prediction", "timesteps"):
            credited, other = getattr(study.start.process, word), getattr(model.process, word)
            if credited != other:
                raise ModelError(
                    f"The base model {base} has {word} {other!r}, the credited one {credited!r}: their losses don't "
                    "compare. Give the model that training began from, or none for an untrained network."
                )
    name = fingerprint(model)
    return study.measure_model(study.path / FOLDER / f"nobody-{name[:12]}", model, name)


def _retrainings(study: Study, rows: Sequence[np.ndarray], repeats: int) -> list[Retraining]:
    """The models of some examples, each once."""
    pairs = [(kept, repeat) for kept in rows if len(kept) for repeat in range(repeats)]
    unique = {study.measurement_name(*pair): pair for pair in pairs}
    return [study.retraining(*pair) for pair in unique.values()]
