"""Scores without standard errors, which cost a ninth of those with them: for pictures that one section asks about."""

from __future__ import annotations

from pathlib import Path

from torch import from_numpy

from whence.attribution.attribute import Request
from whence.engine import Report, silent
from whence.evaluation.leaderboard.damping import grid
from whence.gradients.store import extend
from whence.scores.scores import Estimand, Scores


def quick_scores(
    request: Request, store: Path, *, workers: int | None = None, report: Report = silent
) -> dict[str, Scores]:
    """Return scores by each method at its own damping, without standard errors.

    Args:
        request: What is asked for, gradient methods alone.
        store: Folder for features.
        workers: Processes; default one for each core.
        report: Called with (rows of features done, rows in all).

    Raises:
        ConfigError: A method refuses its damping.
    """
    work = request.work(store)
    wanted = {one: work.looks(one) for one in request.methods}
    extend(list(work.jobs.values()), workers=workers, report=report)
    return {
        one.name: Scores(
            scores=from_numpy(found[one.damping]).float(),
            queries=work.query_names(one),
            examples=work.examples.ids,
            units=request.units,
            method=one.name,
            estimand=Estimand(
                one.behaviour, "an example left out of training", "one step", request.target.fingerprint, "example"
            ),
            sign="positive is proponent" if one.signed else "unsigned",
            combine="sum" if one.additive else "max",
            draws=work.config.draws,
        )
        for one, found in grid(work, wanted).items()
    }
