"""Values of coalitions: their models are made, looked at and forgotten; what they showed is kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from whence import artefacts
from whence.credit.behaviours import Behaviour
from whence.credit.behaviours.declaration import Values
from whence.credit.contributors import Contributors
from whence.credit.game import Game
from whence.credit.looks import KIND, Look
from whence.credit.study import Study
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.diffusion.ranges import require_size
from whence.engine import Report, Task, run, silent
from whence.errors import MismatchError, ModelError
from whence.evaluation.bank.retrain import PATIENCE


def play(
    study: Study,
    contributors: Contributors,
    behaviours: Sequence[Behaviour],
    coalitions: np.ndarray,
    *,
    repeats: int = 1,
    mean: bool = True,
    base: Path | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Game:
    """Return the values of coalitions, making the models that are missing; killed, it continues.

    v(all) is of a model that is made in the same way from everybody's examples, v(∅) of `base`; without one, of an
    untrained network.

    Args:
        study: Where models are compared.
        contributors: The players.
        behaviours: What is measured.
        coalitions: bool [M, U].
        repeats: Training seeds; those of one repeat are the same for all coalitions.
        mean: Whether repeats are averaged; else they are rows of the game one after another, M of each and everybody.
        base: The model before any of these examples, such as the one that was fine-tuned.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).

    Raises:
        MismatchError: The contributors are of other examples; see `Study.model`.
        DataError: A behaviour lacks held-out pictures, queries or captions.
    """
    if contributors.examples != study.data.ids:
        raise MismatchError(
            f"The contributors are of {len(contributors.examples):,} examples, {study.path} compares models of "
            f"{len(study.data):,}, and they are not the same. Take the contributors of the study's data."
        )
    functions = [one.prepare(study.context) for one in behaviours]
    names = tuple(name for one in behaviours for name, _, _ in one.explained(study.context))
    inside = with_everybody(coalitions)
    rows = [contributors.kept(row) for row in inside]
    looks = looks_of(study, rows, repeats=repeats, base=base, workers=workers, report=report)
    values = _values(functions, looks)
    nobody, everybody = _values(functions, [[look_at_nobody(study, base)]])[0, 0], values[-1].mean(0)
    if mean:
        return Game(contributors.names, names, coalitions, values[:-1].mean(1), nobody, everybody)
    played = values.transpose(1, 0, 2).reshape(-1, len(names))
    return Game(contributors.names, names, np.tile(inside, (repeats, 1)), played, nobody, everybody)


def with_everybody(coalitions: np.ndarray) -> np.ndarray:
    """The coalitions of which models are made: those given and, last, everybody, for v(all)."""
    return np.concatenate([coalitions, np.ones((1, coalitions.shape[1]), bool)])


def values_of(study: Study, behaviours: Sequence[Behaviour], looks: Sequence[Sequence[Look]]) -> np.ndarray:
    """Return the values of looks, float64 [M, K, B]."""
    return _values([one.prepare(study.context) for one in behaviours], looks)


def _values(functions: Sequence[Values], looks: Sequence[Sequence[Look]]) -> np.ndarray:
    return np.array([[np.concatenate([v(look) for v in functions]) for look in row] for row in looks])


def looks_of(
    study: Study,
    rows: Sequence[np.ndarray],
    *,
    repeats: int = 1,
    base: Path | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> list[list[Look]]:
    """Return what the models of some examples show, for every repeat; those of equal examples are made once.

    Args:
        study: Where models are compared.
        rows: Examples of each model; the model of none is `base`.
        repeats: Training seeds of each.
        base: The model before any of these examples.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).
    """
    study.itself  # noqa: B018
    models = [_model(_place(study, own, repeat)) for own in rows if len(own) for repeat in range(repeats)]
    if missing(study, rows, repeats) or any(model.exists() for model in models):
        with artefacts.lock(study.path / "looks"):
            _make(study, missing(study, rows, repeats), workers, report)
            for model in models:  # Of a run that was killed just before it forgot one.
                artefacts.discard(model)
    nobody = None if all(map(len, rows)) else look_at_nobody(study, base)

    def shown(own: np.ndarray, repeat: int) -> Look:
        return nobody if nobody and not len(own) else Look.read(_place(study, own, repeat))

    return [[shown(own, repeat) for repeat in range(repeats)] for own in rows]


def missing(study: Study, rows: Sequence[np.ndarray], repeats: int = 1) -> list[tuple[np.ndarray, int]]:
    """Return the looks that are still to be made: the examples of each model and its repeat, each once.

    Raises:
        MismatchError: A look that is there is of another study.
        ArtefactError: A look that is there is damaged.
    """
    wanted = {_place(study, own, repeat): (own, repeat) for own in rows if len(own) for repeat in range(repeats)}
    return [one for place, one in wanted.items() if artefacts.existing(place, KIND, **_request(study, *one)) is None]


def _make(study: Study, wanted: Sequence[tuple[np.ndarray, int]], workers: int | None, report: Report) -> None:
    if not wanted:
        return
    study.start  # noqa: B018 - made here, once, for all workers
    tasks = []
    for own, repeat in wanted:
        arguments = {"path": study.path, "full": study.full, "request": study.request.fingerprint}
        steps = study.settings.way.settings(study.config, len(own), len(study.data), 0).training.steps
        task = Task(_name(own, repeat), look_at, arguments | {"rows": own, "repeat": repeat}, steps)
        tasks.append(task)
    run(tasks, workers=workers, report=report)


def look_at(path: Path, full: Path, request: str, rows: np.ndarray, repeat: int, report: Report) -> None:
    """Make the model of some examples and look at it; a task for the engine."""
    study = _opened(path, full, request)
    place = _place(study, rows, repeat)
    way, work = study.settings.way, _model(place)
    if artefacts.existing(place, KIND, **_request(study, rows, repeat)) is None:
        config = way.settings(study.config, len(rows), len(study.data), study.seed(repeat))
        model = way.model(work, study.data.select(rows), study.start, config, report)
        study.look(model).write(place, **_request(study, rows, repeat), patience=PATIENCE)
    artefacts.discard(work)


@lru_cache(maxsize=1)
def _opened(path: Path, full: Path, request: str) -> Study:
    """The study, opened once in a process; another one that has taken its place is not mistaken for it."""
    study = Study.open(path, full)
    if study.request.fingerprint != request:
        raise MismatchError(f"{path} became another study while models were made for it; run the command again.")
    return study


def look_at_nobody(study: Study, base: Path | None = None) -> Look:
    """Return what the model of nobody shows: `base`, or a network with the weights that training begins from.

    Raises:
        DataError: The base model is of pictures of another size.
        ModelError: It predicts something else, or has another number of timesteps, so that losses don't compare.
    """
    if base is None:
        model = study.model.untrained(study.seed(0))
    else:
        model = DiffusionModel.load(base)
        require_size(model, torch.empty(0, *study.data.size), "training images")
        for word in ("prediction", "timesteps"):
            known, given = getattr(study.model.process, word), getattr(model.process, word)
            if known != given:
                raise ModelError(
                    f"The base model {base} has {word} {given!r}, the credited one {known!r}: their losses don't "
                    "compare. Give the model that training began from, or none for an untrained network."
                )
    name = fingerprint(model)
    return study.kept_look(study.path / "looks" / f"nobody-{name[:12]}", model, name)


def _place(study: Study, rows: np.ndarray, repeat: int) -> Path:
    return study.path / "looks" / _name(rows, repeat)


def _model(place: Path) -> Path:
    return place.with_name(f"{place.name}.model")


def _name(rows: np.ndarray, repeat: int) -> str:
    return artefacts.digest([rows.tolist(), repeat])[:20]


def _request(study: Study, rows: np.ndarray, repeat: int) -> dict[str, dict[str, object]]:
    return {"inputs": study.inputs, "made": {"rows": artefacts.digest(rows.tolist()), "repeat": repeat}}
