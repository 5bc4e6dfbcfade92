"""Values of coalitions: their models are made, looked at and forgotten; what they showed is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel

from whence import artefacts
from whence.credit.behaviours import Behaviour
from whence.credit.contributors import Contributors
from whence.credit.game import Game
from whence.credit.looks import KIND, Look
from whence.credit.study import Study, opened
from whence.diffusion.fingerprint import fingerprint
from whence.diffusion.process import DiffusionModel
from whence.engine import Report, Task, run, silent
from whence.errors import ModelError
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
        mean: Whether repeats are averaged; else they are rows of the game one after another, M of each.
        base: The model before any of these examples, such as the one that was fine-tuned.
        workers: Processes; default one for each core.
        report: Called with (training steps done, steps in all).
    """
    everybody = np.ones((1, len(contributors)), bool)
    rows = [contributors.kept(row) for row in np.concatenate([coalitions, everybody])]
    looks = looks_of(study, rows, repeats=repeats, base=base, workers=workers, report=report)
    values = values_of(study, behaviours, looks)
    nobody = values_of(study, behaviours, [[_nobody(study, base)]])[0, 0]
    names = tuple(name for one in behaviours for name, _, _ in one.explained(study.context))
    played = values[:-1].mean(1) if mean else values[:-1].transpose(1, 0, 2).reshape(-1, len(names))
    inside = coalitions if mean else np.tile(coalitions, (repeats, 1))
    return Game(contributors.names, names, inside, played, nobody, values[-1].mean(0))


def values_of(study: Study, behaviours: Sequence[Behaviour], looks: Sequence[Sequence[Look]]) -> np.ndarray:
    """Return the values of looks, float64 [M, K, B]."""
    functions = [one.prepare(study.context) for one in behaviours]
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
    study.itself, study.start  # noqa: B018
    wanted = {_name(own, repeat): (own, repeat) for own in rows if len(own) for repeat in range(repeats)}
    tasks = []
    for name, (own, repeat) in wanted.items():
        if artefacts.existing(study.path / "looks" / name, KIND, **_request(study, own, repeat)) is None:
            arguments = {"path": study.path, "full": study.full, "rows": own, "repeat": repeat}
            steps = study.settings.way.settings(study.config, len(own), len(study.data), 0).training.steps
            tasks.append(Task(name, look_at, arguments, steps))
    if tasks:
        run(tasks, workers=workers, report=report)
    found = {name: Look.read(study.path / "looks" / name) for name in wanted}
    return [
        [found[_name(own, repeat)] if len(own) else _nobody(study, base) for repeat in range(repeats)] for own in rows
    ]


def look_at(path: Path, full: Path, rows: np.ndarray, repeat: int, report: Report) -> None:
    """Make the model of some examples and look at it; a task for the engine."""
    study = opened(path, full)
    place = path / "looks" / _name(rows, repeat)
    if artefacts.existing(place, KIND, **_request(study, rows, repeat)) is not None:
        return
    way, work = study.settings.way, place.with_name(place.name + ".model")
    config = way.settings(study.config, len(rows), len(study.data), study.seed(repeat))
    model = way.model(work, study.data.select(rows), study.start, config, report)
    study.look(model).write(place, **_request(study, rows, repeat), patience=PATIENCE)
    shutil.rmtree(work, ignore_errors=True)


def _name(rows: np.ndarray, repeat: int) -> str:
    return artefacts.digest([rows.tolist(), repeat])[:20]


def _request(study: Study, rows: np.ndarray, repeat: int) -> dict[str, dict[str, object]]:
    return {"inputs": study.inputs, "made": {"rows": artefacts.digest(rows.tolist()), "repeat": repeat}}


def _nobody(study: Study, base: Path | None) -> Look:
    """What the model of nobody shows: the base, or a network with new weights."""
    if base is not None:
        model = DiffusionModel.load(base)
    else:
        full = DiffusionModel.load(study.full)
        if not isinstance(full.network, UNet2DModel):
            raise ModelError("The model of nobody isn't known: give the base model that training began from.")
        with torch.random.fork_rng():
            torch.manual_seed(study.seed(0))
            network = UNet2DModel.from_config(full.network.config)
        model = DiffusionModel(network.eval(), full.scheduler)
    place = study.path / "looks" / f"nobody-{fingerprint(model)[:12]}"
    if not (place / artefacts.MANIFEST).exists():
        study.look(model).write(place, study.inputs, {"model": fingerprint(model)})
    return Look.read(place)
