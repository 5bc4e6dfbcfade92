"""Credit of a study: the coalitions that an estimator needs, their values, the shares and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.credit.behaviours import Behaviour
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.credit.estimators import Estimator
from whence.credit.game import Game
from whence.credit.intervals import replicates
from whence.credit.make_game import measure_game
from whence.credit.study import Study
from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError


@dataclass(frozen=True)
class CoalitionSampling:
    """How many models are made for shares.

    Attributes:
        coalitions: Coalitions that are drawn, by estimators that draw them.
        repeats: Training seeds for each coalition.
        seed: Seed of the coalitions.
    """

    coalitions: int = 200
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: One is out of range.
        """
        for name, least in (("coalitions", 1), ("repeats", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is at least {least}, given {getattr(self, name)}.")


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
    """Return whether coalitions were drawn, after a check that they determine the shares whatever their values.

    Raises:
        DataError: They don't.
    """
    zeros = np.zeros((len(rows), 1))
    game = Game(contributors.names, ("check",), rows, zeros, zeros[0], zeros[0])
    estimator.shares(game)
    return estimator.drawn(game) is not None
