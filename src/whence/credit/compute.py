"""From a study to credit: the coalitions an estimator needs, their values, shares and how sure they are."""

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
from whence.credit.study import Study
from whence.credit.sums import owned
from whence.credit.values import play
from whence.engine import Report, silent
from whence.errors import ConfigError, MismatchError


@dataclass(frozen=True)
class Effort:
    """How much is spent on shares.

    Attributes:
        coalitions: Coalitions that are drawn, of estimators that draw them.
        repeats: Training seeds for each coalition.
        seed: Which coalitions are drawn.
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
    effort: Effort | None = None,
    *,
    base: Path | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> tuple[Credit, Game]:
    """Share out what a model does among its contributors, by models of coalitions of them.

    Models that are there already are not made again, whichever estimator or behaviour asked for them.

    Args:
        study: Where models are compared.
        contributors: Whose the examples are.
        behaviours: What is shared out.
        estimator: How.
        effort: How many models may be made.
        base: The model before any of these examples; without one an untrained network is v(∅).
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).

    Returns:
        The shares, and the game that they are of. Intervals cover which coalitions were drawn and the noise of their
        models, not that values of fine-tuning differ from those of retraining.

    Raises:
        ConfigError: No behaviour is asked for, or one twice.
        DataError: A behaviour lacks held-out pictures, queries or captions; or there are too few coalitions, which is
            said before any model is made.
        MismatchError: The model or the contributors are not those of the study.
    """
    names = [one.name for one in behaviours]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"Ask for at least one behaviour, such as diversity, and for each once; given {names}.")
    effort = effort or Effort()
    rows = estimator.coalitions(len(contributors), effort.coalitions, effort.seed)
    mean = _drawn(estimator, contributors, rows) or effort.repeats == 1
    models: dict[str, Any] = {"repeats": effort.repeats, "mean": mean, "base": base, "workers": workers}
    game = play(study, contributors, behaviours, rows, **models, report=report)
    resampled = replicates(estimator, game, effort.seed)
    credit = Credit(
        estimator.name,
        estimator.efficient,
        contributors.names,
        owned(contributors),
        _explained(study, behaviours, game),
        estimator.shares(game),
        resampled,
        _how(study, estimator, game, effort, base) | _interval(study, estimator, game, resampled),
    )
    return credit, game


def write_credit(
    credit: Credit, out: Path, inputs: dict[str, Any], made: dict[str, Any], game: Game | None = None
) -> Path:
    """Write credit into OUT/ESTIMATOR, replacing what was computed there for something else.

    Returns:
        The folder.

    Raises:
        ArtefactError: The folder holds something else than credit, or is damaged; it is left as it is.
    """
    place, content = out / credit.estimator, [credit.shares.tolist(), credit.none.tolist(), credit.all.tolist()]
    made = {"estimator": credit.estimator, "efficient": credit.efficient, **made, "values": artefacts.digest(content)}
    try:
        credit.write(place, inputs, made, game)
    except MismatchError:
        for old in (place, Path(f"{place}.part")):
            artefacts.discard(old)
        credit.write(place, inputs, made, game)
    return place


def request_of(contributors: Contributors, behaviours: Sequence[Behaviour], effort: Effort) -> dict[str, Any]:
    """What shares were asked for, for their manifest."""
    owners = [list(map(int, np.flatnonzero(own))) for own in contributors.member]
    who = artefacts.digest([contributors.names, contributors.examples, owners])
    return {"contributors": who, "behaviours": [one.name for one in behaviours], **asdict(effort)}


def _explained(study: Study, behaviours: Sequence[Behaviour], game: Game) -> tuple[Explained, ...]:
    rows = [(one, *row) for one in behaviours for row in one.explained(study.context)]
    return tuple(
        Explained(name, title, one.unit, picture, float(none), float(everybody))
        for (one, name, title, picture), none, everybody in zip(rows, game.none, game.all, strict=True)
    )


def _how(study: Study, estimator: Estimator, game: Game, effort: Effort, base: Path | None) -> dict[str, str]:
    """What was done, for people."""
    repeated = "" if effort.repeats == 1 else f", each with {effort.repeats} training seeds"
    count, way = len(np.unique(game.coalitions, axis=0)), study.settings.way
    return {
        "values": f"For each of {count:,} sets of contributors{repeated}: {way.words}.",
        "all": "A model that was made in the same way from everybody's pictures.",
        "null": "The base model, before any of these pictures." if base else "An untrained network of the same kind.",
    }


def _interval(study: Study, estimator: Estimator, game: Game, resampled: np.ndarray | None) -> dict[str, str]:
    """What intervals cover, for people."""
    drawn = estimator.drawn(game) is not None
    if resampled is None:
        way = "more coalitions" if drawn else "two or more training seeds for each coalition"
        return {
            "interval": f"Not known: nothing was repeated that would show how far shares may be off; it takes {way}."
        }
    covered = "which coalitions were drawn and the noise of their models" if drawn else "the noise of their models"
    known = "v(none) and v(all) are taken as known." if drawn else "v(none) is taken as known."
    short = study.settings.way.kind == "fine-tuning"
    return {
        "interval": f"95%, over {covered}; {known}"
        + (" It does not cover how far fine-tuning is from training anew." if short else "")
    }


def _drawn(estimator: Estimator, contributors: Contributors, rows: np.ndarray) -> bool:
    """Return whether coalitions were drawn, once they determine the shares whatever their values.

    Raises:
        DataError: They don't.
    """
    nothing = np.zeros((len(rows), 1))
    game = Game(contributors.names, ("check",), rows, nothing, nothing[0], nothing[0])
    estimator.shares(game)
    return estimator.drawn(game) is not None
