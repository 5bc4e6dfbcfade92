"""Measuring a game: the models of coalitions are made and measured, their values computed; and what that will cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from whence import artefacts
from whence.cost import Cost, counted, peak_memory
from whence.credit.behaviours.declaration import Behaviour, Values
from whence.credit.coalitions import CoalitionSampling
from whence.credit.contributors import Contributors
from whence.credit.estimators import Estimator
from whence.credit.game import Game
from whence.credit.study import Study
from whence.diffusion.checks import require_size
from whence.diffusion.families.unet import complete_training
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.training import request_of, time_step, weight_bytes
from whence.engine import DEFAULT, Engine
from whence.errors import MismatchError, ModelError
from whence.retraining import MODEL_SUFFIX
from whence.retraining.denoising_losses import time_losses
from whence.retraining.measurement import Measurement, time_drawing
from whence.retraining.retrain import Retraining, missing_retrainings, retrain

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
    """Return the values of coalitions [M, U], after making and measuring the models that are missing.

    v(all) is of a model that is made in the same way from everybody's examples, v(∅) of `base`, the model before any
    of these examples; without one, of an untrained network. If the call was interrupted, it continues. Training seeds
    of one of the `repeats` are the same for all coalitions. Repeats are averaged if `mean`; else they are rows of the
    game, one repeat after another, each with the M coalitions and everybody. The engine's report is called with
    (training steps done, steps in all).

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
    inside = _with_everybody(coalitions)
    rows = [contributors.kept(row) for row in inside]
    measured = measure_coalitions(study, rows, repeats=repeats, base=base, engine=engine)
    values, none = _values(functions, measured), _values(functions, [[measure_nobody(study, base)]])[0, 0]
    if mean:
        return Game(contributors.names, names, coalitions, values[:-1].mean(1), none, values[-1].mean(0))
    flat = values.transpose(1, 0, 2).reshape(-1, len(names))
    return Game(contributors.names, names, np.tile(inside, (repeats, 1)), flat, none, values[-1].mean(0))


def _with_everybody(coalitions: np.ndarray) -> np.ndarray:
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
    """Return the measurements of all repeats of models of some examples, after making those that are missing.

    `rows` are the rows of the examples of each model, ascending; the model of none is `base`. Models of equal examples
    are made once. The engine's report is called with (training steps done, steps in all).
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
    """Return the models that `measure_coalitions` would make, each once; measurements that are there are checked."""
    return missing_retrainings(study, study.path / FOLDER, _retrainings(study, rows, repeats))


def measure_nobody(study: Study, base: Path | None = None) -> Measurement:
    """Return the measurement of nobody's model: `base`, or a network with the weights that training starts from.

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


def credit_cost(
    study: Study,
    contributors: Contributors,
    estimator: Estimator,
    sampling: CoalitionSampling | None = None,
    engine: Engine = DEFAULT,
) -> Cost:
    """Return the cost of the models that an estimator lacks, from timing a few training steps, losses and drawings.

    Measuring the credited model and the model of nobody is not counted; a step is timed in this process, while nothing
    else runs.
    """
    sampling = sampling or CoalitionSampling()
    rows = _with_everybody(estimator.coalitions(len(contributors), sampling.coalitions, sampling.seed))
    missing = missing_models(study, [contributors.kept(row) for row in rows], sampling.repeats)
    if not missing:
        return Cost(0.0, peak_memory(), 0, "nothing: all of it is there already")
    used = engine.processes(len(missing))
    steps = [retraining.config.training.steps for retraining in missing]
    config = study.config.model_copy(update={"training": complete_training(study.config.training, study.data.size)})
    step, model = time_step(request_of(study.data, config, start=study.start))
    seconds, weights = _time_measurement(study, model), weight_bytes(model)
    work = (
        f"{len(missing):,} models: {sum(steps):,} steps of {step * 1000:.0f} ms, {weights // 4:,} parameters each, and "
        f"a measurement of each of {seconds:.1f} s, in {counted(used)}"
    )
    return Cost(
        seconds=_seconds([count * step + seconds for count in steps], used),
        memory=peak_memory() * used,
        disk=len(missing) * measurement_bytes(study) + 10 * weights * used,
        work=work,
    )


def measurement_bytes(study: Study) -> int:
    """Return the bytes of the measurement of a model on disk."""
    sizes = study.plan.sizes
    pictures, losses = sizes["pictures"] + sizes["redrawn"], sizes["losses"] + sizes["held_out"]
    return pictures * math.prod(study.data.size) + 8 * losses


def _time_measurement(study: Study, model: DiffusionModel) -> float:
    """Seconds that the measurement of one model takes."""
    plan, names = study.plan, tuple(dict.fromkeys((*study.plan.names, *study.plan.redrawn)))
    losses = time_losses(model, study.data, plan.draws, plan.sizes["losses"] + plan.sizes["held_out"])
    return losses + time_drawing(model, plan.sampler, names)


def _seconds(tasks: list[float], workers: int) -> float:
    """Return when the last of the workers is done, each taking the next task as soon as it is free."""
    free = [0.0] * workers
    for seconds in tasks:
        free[free.index(min(free))] += seconds
    return max(free)
