"""What credit of a study will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

import math

import psutil

from whence.cost import Cost, counted
from whence.credit.contributors import Contributors
from whence.credit.estimators import Estimator
from whence.credit.make_game import missing_models, with_everybody
from whence.credit.study import Study
from whence.credit.study_credit import CoalitionSampling
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sizes import complete_training
from whence.diffusion.training_cost import time_step, weight_bytes
from whence.engine import DEFAULT, Engine
from whence.retraining.measurement import time_drawing, time_losses


def credit_cost(
    study: Study,
    contributors: Contributors,
    estimator: Estimator,
    sampling: CoalitionSampling | None = None,
    engine: Engine = DEFAULT,
) -> Cost:
    """Return the cost of the models that an estimator lacks, from timing a few training steps, losses and drawings.

    Args:
        study: The study; models that are measured there cost nothing.
        contributors: Whose the examples are.
        estimator: Which coalitions are needed.
        sampling: How many coalitions, and how often.
        engine: Where work runs.

    Returns:
        The cost. Measuring the credited model and the model of nobody is not counted; a step is timed in this process,
        while nothing else runs.
    """
    sampling = sampling or CoalitionSampling()
    rows = with_everybody(estimator.coalitions(len(contributors), sampling.coalitions, sampling.seed))
    missing = missing_models(study, [contributors.kept(row) for row in rows], sampling.repeats)
    if not missing:
        return Cost(0.0, psutil.Process().memory_info().rss, 0, "nothing: all of it is there already")
    used = engine.processes(len(missing))
    steps = [retraining.config.training.steps for retraining in missing]
    config = study.config.model_copy(update={"training": complete_training(study.config.training, study.data.size)})
    step, model = time_step(study.data, config, study.start)
    seconds, weights = _time_measurement(study, model), weight_bytes(model)
    work = (
        f"{len(missing):,} models: {sum(steps):,} steps of {step * 1000:.0f} ms, {weights // 4:,} parameters each, and "
        f"a measurement of each of {seconds:.1f} s, in {counted(used)}"
    )
    return Cost(
        seconds=_seconds([count * step + seconds for count in steps], used),
        memory=psutil.Process().memory_info().rss * used,
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
    plan = study.plan
    names = tuple(dict.fromkeys((*plan.names, *plan.redrawn)))
    losses = time_losses(model, study.data, plan.draws, plan.sizes["losses"] + plan.sizes["held_out"])
    return losses + time_drawing(model, plan.sampler, names)


def _seconds(tasks: list[float], workers: int) -> float:
    """Return when the last of the workers is done, each taking the next task as soon as it is free.

    Example:
        >>> _seconds([2.0, 1.0, 1.0, 1.0], workers=2)
        3.0
    """
    free = [0.0] * workers
    for seconds in tasks:
        soonest = free.index(min(free))
        free[soonest] += seconds
    return max(free)
