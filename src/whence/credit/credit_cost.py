"""What credit of a study will cost, before paying: time by measuring a little of it, memory and disk by counting."""

from __future__ import annotations

import math

import psutil

from whence.cost import Cost, counted
from whence.credit.compute import Effort
from whence.credit.contributors import Contributors
from whence.credit.estimators import Estimator
from whence.credit.study import Study
from whence.credit.values import missing, with_everybody
from whence.diffusion.model import DiffusionModel
from whence.diffusion.sizes import complete_training
from whence.diffusion.training_cost import time_step, weight_bytes
from whence.engine import workers_here
from whence.evaluation.bank.bank_cost import time_drawing, time_losses


def credit_cost(
    study: Study,
    contributors: Contributors,
    estimator: Estimator,
    effort: Effort | None = None,
    workers: int | None = None,
) -> Cost:
    """Cost of the looks that an estimator lacks, measured on a few training steps, losses and sampling steps.

    Args:
        study: Where models are compared; looks that are there cost nothing.
        contributors: Whose the examples are.
        estimator: Which coalitions are needed.
        effort: How many of them, and how often.
        workers: Processes; default one for each core.

    Returns:
        The plan. Pruning a model and training it once more is not counted, nor are looks at the credited model and at
        nobody's, which are two; a step is timed before pruning, in this process, while nothing else runs beside it.
    """
    effort = effort or Effort()
    rows = estimator.coalitions(len(contributors), effort.coalitions, effort.seed)
    wanted = missing(study, [contributors.kept(row) for row in with_everybody(rows)], effort.repeats)
    if not wanted:
        return Cost(0.0, psutil.Process().memory_info().rss, 0, "nothing: all of it is there already")
    used = min(workers or workers_here(), len(wanted))
    steps = [_steps(study, len(own)) for own, _ in wanted]
    config = study.config.model_copy(update={"training": complete_training(study.config.training, study.data.size)})
    step, model = time_step(study.data, config, study.model)
    look, weights = _time_look(study, model), weight_bytes(model)
    work = (
        f"{len(wanted):,} models: {sum(steps):,} steps of {step * 1000:.0f} ms, {weights // 4:,} parameters each, and "
        f"a look at each of {look:.1f} s, in {counted(used)}"
    )
    return Cost(
        seconds=_seconds([own * step + look for own in steps], used),
        memory=psutil.Process().memory_info().rss * used,
        disk=len(wanted) * look_bytes(study) + 10 * weights * used,
        work=work,
    )


def look_bytes(study: Study) -> int:
    """Return the bytes that what a model shows takes on disk."""
    context = study.compared_on
    asked, held_out = len(context.drawn), len(context.held_out) if context.held_out else 0
    return (len(context.names) + len(context.again)) * math.prod(study.data.size) + 8 * (asked + held_out)


def _steps(study: Study, kept: int) -> int:
    return study.settings.way.settings(study.config, kept, len(study.data), 0).training.steps


def _time_look(study: Study, model: DiffusionModel) -> float:
    """Seconds that a look at one model takes."""
    context, settings = study.compared_on, study.settings
    names = tuple(dict.fromkeys((*context.names, *context.again)))
    pictures = len(context.drawn) + (len(context.held_out) if context.held_out else 0)
    drawing = time_drawing(model, settings.sampler, names) if names else 0.0
    return drawing + (time_losses(model, study.data, settings.draws, pictures) if pictures else 0.0)


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
