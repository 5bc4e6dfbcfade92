"""Credit of a study: the coalitions that an estimator needs, their values, the shares and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.credit.behaviours import Behaviour
from whence.credit.behaviours.declaration import Context
from whence.credit.coalitions import CoalitionSampling
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.credit.estimators import Estimator
from whence.credit.game import Game, cells, is_proper
from whence.credit.make_game import measure_game
from whence.credit.study import Study, StudyConfig, measurement_plan
from whence.credit.study_pictures import select_pictures
from whence.data import Dataset
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError, DataError


def credit_of_study(
    study: Study,
    contributors: Contributors,
    behaviours: Sequence[Behaviour],
    estimator: Estimator,
    sampling: CoalitionSampling | None = None,
    *,
    base: Path | None = None,
    engine: Engine = DEFAULT,
) -> tuple[Credit, Game]:
    """Share out what a model does among its contributors, by models of coalitions of them.

    A model that was measured before, for another estimator or behaviour, is not made again.

    Args:
        study: The study.
        contributors: Whose the examples are.
        behaviours: What is shared out.
        estimator: How it is shared out.
        sampling: How many models are made.
        base: The model before any of these examples; without one an untrained network is v(∅).
        engine: Where work runs. Its report is called with (training steps done, steps in all).

    Returns:
        The shares, and the game that they are of. Intervals cover which coalitions were drawn and the noise of their
        models, not that values of fine-tuning differ from those of retraining.

    Raises:
        ConfigError: No behaviour is given, or one twice.
        DataError: A behaviour lacks held-out pictures, queries or classes; or there are too few coalitions, which is
            said before any model is made.
        MismatchError: The model or the contributors are not those of the study.
    """
    names = [behaviour.name for behaviour in behaviours]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"Ask for at least one behaviour, such as diversity, and for each once; given {names}.")
    sampling = sampling or CoalitionSampling()
    rows = estimator.coalitions(len(contributors), sampling.coalitions, sampling.seed)
    mean = _require_enough(estimator, contributors, rows) or sampling.repeats == 1
    models: dict[str, Any] = {"repeats": sampling.repeats, "mean": mean, "base": base}
    game = measure_game(study, contributors, behaviours, rows, **models, engine=engine)
    resampled = replicates(estimator, game, sampling.seed)
    credit = Credit(
        estimator.name,
        estimator.efficient,
        contributors.names,
        contributors.owned,
        _explained(study, behaviours, game),
        estimator.shares(game),
        resampled,
        _notes(study, game, sampling, base) | {"interval": _interval_note(study, estimator, game, resampled)},
    )
    return credit, game


def require_measurable(
    behaviours: Sequence[Behaviour],
    full: Path,
    data: Dataset,
    settings: StudyConfig,
    held_out: Dataset | None,
    queries: Examples | None,
) -> None:
    """Check before a study is begun that behaviours can be computed from what it would measure; see `Study.begin`.

    Raises:
        DataError: A behaviour lacks pictures, held-out pictures, queries or classes.
    """
    most, sampler = settings.held_out, settings.sampler
    pictures = select_pictures(DiffusionModel.load(full), data, held_out, queries, most=most, sampler=sampler)
    drawn = bool(queries and queries.origin and queries.origin.drawn)
    plan = measurement_plan(settings, pictures["held_out"], pictures["queries"], drawn)
    context = Context(data, plan, np.zeros((len(plan.names), *data.size), np.uint8))
    for behaviour in behaviours:
        behaviour.list_rows(context)


def request_of(
    contributors: Contributors, behaviours: Sequence[Behaviour], sampling: CoalitionSampling
) -> dict[str, Any]:
    """Return how shares of a study are computed, for their manifest."""
    owners = [list(map(int, np.flatnonzero(row))) for row in contributors.member]
    digest = artefacts.digest([contributors.names, contributors.examples, owners])
    return {"contributors": digest, "behaviours": [one.name for one in behaviours], **asdict(sampling)}


def _explained(study: Study, behaviours: Sequence[Behaviour], game: Game) -> tuple[Explained, ...]:
    rows = [(behaviour.unit, *row) for behaviour in behaviours for row in behaviour.list_rows(study.context)]
    return tuple(
        Explained(name, title, unit, picture, float(none), float(everybody))
        for (unit, name, title, picture), none, everybody in zip(rows, game.none, game.all, strict=True)
    )


def _notes(study: Study, game: Game, sampling: CoalitionSampling, base: Path | None) -> dict[str, str]:
    """How values were measured, for people."""
    repeated = "" if sampling.repeats == 1 else f", each with {sampling.repeats} training seeds"
    count, rule = len(np.unique(game.coalitions, axis=0)), study.settings.rule
    return {
        "values": f"For each of {count:,} sets of contributors{repeated}: {rule.description}.",
        "all": "A model that was made in the same way from everybody's pictures.",
        "null": "The base model, before any of these pictures." if base else "An untrained network of the same kind.",
    }


def _interval_note(study: Study, estimator: Estimator, game: Game, resampled: np.ndarray | None) -> str:
    """What intervals cover, for people."""
    drawn = estimator.drawn(game) is not None
    if resampled is None:
        need = "more coalitions" if drawn else "two or more training seeds for each coalition"
        return f"Not known: nothing was repeated that would show how far shares may be off; it takes {need}."
    covered = "which coalitions were drawn and the noise of their models" if drawn else "the noise of their models"
    known = "v(none) and v(all) are taken as known." if drawn else "v(none) is taken as known."
    fine_tuned = study.settings.rule.kind == "fine-tuning"
    limit = " It does not cover how far fine-tuning is from training anew." if fine_tuned else ""
    return f"95%, over {covered}; {known}{limit}"


def _require_enough(estimator: Estimator, contributors: Contributors, rows: np.ndarray) -> bool:
    """Return whether coalitions were drawn; a DataError if they can't determine the shares, whatever their values."""
    zeros = np.zeros((len(rows), 1))
    game = Game(contributors.names, ("check",), rows, zeros, zeros[0], zeros[0])
    estimator.shares(game)
    return estimator.drawn(game) is not None


#: Replicates that are computed at a time.
CHUNK = 100


def replicates(estimator: Estimator, game: Game, seed: int, count: int = 1000) -> np.ndarray | None:
    """Return R replicates of shares, float32 [R, B, U], whose quantiles are intervals; None where nothing was repeated.

    Where coalitions were drawn (`estimator.drawn`), by a multiplier bootstrap over the K draws, such as a coalition
    with its complement:

        φ* = φ + √((K - 1) / K) Σ_k ξ_k (φ_{-k} - φ),  ξ_k normal, all divided by √(χ²_{K-1} / (K - 1)),

    φ_{-k} being the shares without draw k; None if no draw can be spared. That is the jackknife's variance, which
    allows for how far each draw pulls the fit towards itself (HC3, MacKinnon & White 1985). Resampling draws gives
    intervals that are too narrow: with 60 coalitions of 10 players, 77% of exact shares were inside, here 92%. The
    intervals cover which coalitions were drawn and the noise of their models. Repeats of a coalition must be averaged
    before, since they aren't new draws. They are still too narrow for Owen values with 5 or fewer pairs for each player
    (90% inside), and where v is almost always 0 (75%).

    Where the coalitions are no draw (all of them, or those of leave-one-out), only the noise of the models is left,
    and repeats of the same coalition show it. The values of each coalition are its mean plus the mean of as many
    residuals; these are drawn from the residuals of all coalitions together and scaled by √(r / (r - 1)) for r repeats.
    So the noise is assumed to be the same for all coalitions. None if a coalition has no repeat.

    v(∅) and v(all) are taken as known; in the second case their repeats among the coalitions count like others. The
    intervals do not cover that values of short fine-tuning differ from those of retraining.

    Example:
        >>> from whence.credit.estimators import LEAVE_ONE_OUT
        >>> rows = ~np.eye(2, dtype=bool)
        >>> once = Game(("a", "b"), ("value",), rows, np.array([[2.0], [1.0]]), np.zeros(1), np.array([4.0]))
        >>> replicates(LEAVE_ONE_OUT, once, seed=0) is None
        True
    """
    rng = np.random.default_rng(seed)
    together = estimator.drawn(game)
    if together is None:
        return _of_noise(estimator, game, rng, count)
    return _of_draws(estimator, game, rng, count, together)


def _of_draws(
    estimator: Estimator, game: Game, rng: np.random.Generator, count: int, together: int
) -> np.ndarray | None:
    shares = estimator.shares(game)
    draw = np.arange(len(game.coalitions)) // together
    draws = int(draw[-1]) + 1
    try:
        changes = np.stack([estimator.shares(game, (draw != k).astype(float)) - shares for k in range(draws)])
    except DataError:  # Without one of them, shares aren't determined.
        return None
    spread = np.sqrt((draws - 1) / rng.chisquare(draws - 1, (count, 1)))
    multipliers = rng.standard_normal((count, draws)) * spread * np.sqrt((draws - 1) / draws)
    resampled: np.ndarray = (shares + np.einsum("rk,kbu->rbu", multipliers, changes)).astype(np.float32)
    return resampled


def _of_noise(estimator: Estimator, game: Game, rng: np.random.Generator, count: int) -> np.ndarray | None:
    cell = cells(game.coalitions)
    repeats = np.bincount(cell)[cell]
    if (repeats[is_proper(game.coalitions)] < 2).any():
        return None
    means = np.stack([np.bincount(cell, column) for column in game.values.T], axis=1)[cell] / repeats[:, None]
    repeated = repeats > 1
    scale = np.sqrt(repeats[repeated] / (repeats[repeated] - 1))[:, None]
    pool = (game.values - means)[repeated] * scale
    chunks = [
        _shares_of(estimator, game, means[None] + pool[rng.integers(len(pool), size=(size, len(cell)))])
        for size in np.diff(np.append(np.arange(0, count, CHUNK), count))
    ]
    return np.concatenate(chunks).astype(np.float32)


def _shares_of(estimator: Estimator, game: Game, values: np.ndarray) -> np.ndarray:
    """Return shares [R, B, U] of R games with values [R, M, B]: one game of R x B behaviours."""
    size, rows, behaviours = values.shape
    ends = []
    for known, rows_of_end in ((game.none, ~game.coalitions.any(1)), (game.all, game.coalitions.all(1))):
        changes = values[:, rows_of_end] - game.values[rows_of_end].mean(0) if rows_of_end.any() else None
        shift = np.zeros(behaviours) if changes is None else changes.mean(1)
        ends.append(np.broadcast_to(known + shift, (size, behaviours)).reshape(-1))
    names = tuple(map(str, range(size * behaviours)))
    columns = values.transpose(1, 0, 2).reshape(rows, -1)
    many = replace(game, behaviours=names, values=columns, none=ends[0], all=ends[1])
    return estimator.shares(many).reshape(size, behaviours, -1)
