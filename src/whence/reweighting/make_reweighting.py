"""Reweighting a recorded run: the derivative of held-out losses, weights within bounds, and models that check them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from whence import artefacts
from whence.attribution.metagradient import open_replay_of, warn_of_clipping
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.target import Target
from whence.config import Config, read_config
from whence.cost import Cost
from whence.credit.behaviours import Behaviour, behaviour
from whence.data import Dataset, write
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.encoding import FOLDER
from whence.diffusion.training import training_cost
from whence.engine import DEFAULT, Engine, staged
from whence.errors import ConfigError
from whence.metagradient.make_derivative import Derivative, derivative_cost, make_derivative
from whence.metagradient.query_losses import GroupLosses
from whence.metagradient.recorded_run import training_parts
from whence.metagradient.replay import Replay
from whence.reweighting.bounded_weights import shared_weights
from whence.reweighting.groups import GroupedPictures, GroupKind, group_rows
from whence.reweighting.retrained import DATA, PICTURES, WEIGHTS, WEIGHTS_FILE, RetrainedModels
from whence.reweighting.reweighting import Reweighting


@dataclass(frozen=True, eq=False)
class ReweightingRequest:
    """What is reweighted, and by what; `reweight` describes the fields and the errors."""

    run: Path
    data: Dataset
    held_out: Dataset
    out: Path
    name: str = "held-out-fit"
    worst_of: GroupKind | None = None
    weights_by: GroupKind | Literal["image"] | None = None
    bound: float = 0.5
    draws: int = 64
    seeds: int = 3
    base: str | None = None

    def __post_init__(self) -> None:
        """Check what needs no model, or raise ConfigError."""
        if self.behaviour.needs != {"held_out"}:
            raise ConfigError(
                f"Weights are chosen by the derivative of losses of held-out pictures; {self.name!r} is measured on "
                "something else. Give held-out-fit."
            )
        if self.seeds < 2 or not 0 < self.bound <= 1:
            raise ConfigError(
                f"Weights are checked by models of 2 other seeds or more, better 3, and change by a share above 0 and "
                f"at most 1; given {self.seeds} seeds and a bound of {self.bound:g}."
            )

    @cached_property
    def behaviour(self) -> Behaviour:
        """What is raised."""
        return behaviour(self.name)

    @cached_property
    def halves(self) -> tuple[GroupedPictures, GroupedPictures]:
        """The held-out pictures to choose by, and those to check on."""
        return GroupedPictures.of(self.held_out, self.worst_of).halves(seed=0)

    @cached_property
    def sharers(self) -> list[np.ndarray]:
        """Rows of the training images that share a weight: by default those of one group, as held-out pictures have."""
        by = self.weights_by or self.worst_of or "image"
        if by == "image":
            return [np.array([n]) for n in range(len(self.data))]
        return list(group_rows(self.data, by).values())

    @cached_property
    def attribution(self) -> AttributionRequest:
        """The metagradient of the pictures to choose by."""
        target, pictures = Target.open(self.run, base=self.base), self.halves[0].pictures
        config = AttributionConfig(draws=self.draws)
        return AttributionRequest.of(target, self.data, pictures, "metagradient", config, encoding=self.out / FOLDER)

    def replay(self, engine: Engine) -> tuple[Replay, GroupLosses]:
        """The run to differentiate, and the mean losses of the groups."""
        replay, losses = open_replay_of(self.attribution, engine)
        return replay, GroupLosses(losses, self.halves[0].rows)

    @property
    def models(self) -> RetrainedModels:
        """The models with the weights and without."""
        run = self.attribution.target.runs[0]
        assert isinstance(run, Path | AdapterRun)  # what has no record was refused when it was opened
        parts = {name: part for name, part in training_parts(run).items() if part}
        parts |= {"encoding": self.out / FOLDER} if parts else {}
        return RetrainedModels(self.out, self.config, parts, self.draws, self.seeds)

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return read_config(self.run / "config.toml")


def reweight(request: ReweightingRequest, engine: Engine = DEFAULT) -> Reweighting:
    """Choose weights of the training examples of a run that raise the worst group, and check them by training again.

    The loss of each group of development pictures, half of the held-out ones, is differentiated through the whole
    recorded run by the weights of its examples (`metagradient`); `shared_weights` chooses the weights. The run is
    trained with them, and so are models of other seeds, each beside one without the weights. All are measured on the
    other half. What is promised is of the run and to first order; what is measured is of other runs.

    Args:
        request: `run` is a directory of `whence train`, `data` what it was trained on, `held_out` pictures that it
            never saw. In `out` are ``run/`` with the weights, ``weights/`` and ``checks/``. `name` is the behaviour,
            `worst_of` the kind of groups (None: all are one), `weights_by` what of the training images share a weight
            (default as `worst_of`, or each has its own), `bound` the largest change of a weight as a share of it,
            `draws` those of every loss, `seeds` the other seeds, `base` where the base of a run of an adapter is.
        engine: Where work runs. Its report is called with (work done, work in all) of two stages.

    Returns:
        The weights, what they promise and what the models show.

    Raises:
        ConfigError: The behaviour is no mean loss of held-out pictures; a number is out of range.
        DataError: A group has fewer than two held-out pictures, or the class of one is not known.
        ArtefactError, MismatchError, ModelError, NotFiniteError: As of `metagradient`; or the folder holds something
            else.
    """
    replay, losses = request.replay(engine)
    choose, check, models = *request.halves, request.models
    inputs, made = request.attribution.inputs, {"groups": {name: rows.tolist() for name, rows in choose.rows.items()}}
    given: dict[str, Any] = {"inputs": inputs, "made": {**made, "draws": request.draws}}
    tasks = models.tasks()
    sizes = [replay.config.steps * (3 + 3 * len(losses)), sum(task.size for task in tasks)]
    first, second = staged(engine, sizes)
    saved = request.attribution.target.model
    derivative = make_derivative(request.out / "derivative", replay, losses, saved, **given, engine=first)
    warn_of_clipping(derivative)
    own = replay.weights.double().cpu().numpy()
    factors = _write_weights(request, derivative, choose.shares, own, replay.source.examples.ids, inputs)
    write(request.data, request.out / DATA)
    write(check.pictures, request.out / PICTURES)
    second.run(tasks)
    before = -derivative.losses.numpy()
    promised = before - derivative.values.numpy() @ (own * (factors - 1))
    plain, weighted = models.measured(check, request.behaviour)
    groups = tuple(choose.rows)
    return Reweighting(
        replay.source.examples.ids, factors, request.name, groups, check.shares, before, promised, plain, weighted
    )


def _write_weights(
    request: ReweightingRequest,
    derivative: Derivative,
    shares: np.ndarray,
    own: np.ndarray,
    ids: tuple[str, ...],
    inputs: dict[str, str],
) -> np.ndarray:
    """Choose the weights and write them; return them over those of the run, float64 [N]."""

    def build(part: Path) -> None:
        numbers = (derivative.losses.numpy(), derivative.values.numpy(), shares, own)
        chosen = shared_weights(*numbers, request.bound, request.sharers)
        artefacts.write_table(part / WEIGHTS_FILE, {"id": list(ids), "weight": (chosen / own).tolist()})

    place, made = request.out / WEIGHTS, {"behaviour": request.name, "bound": request.bound, "shares": shares.tolist()}
    made |= {"sharers": [rows.tolist() for rows in request.sharers]}
    sources = {**inputs, "derivative": artefacts.read_manifest(request.out / "derivative", "derivative").fingerprint}
    artefacts.ensure(place, "weights", inputs=sources, made=made, build=build)
    return np.array(artefacts.read_table(place / WEIGHTS_FILE)["weight"])


def reweighting_cost(request: ReweightingRequest, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of `reweight`: of the derivative, and of the models that are trained."""
    replay, losses = request.replay(engine)
    parts = {name: part for name, part in request.models.parts.items() if name != "encoding"}
    models = 1 + 2 * request.seeds
    return derivative_cost(replay, len(losses)).then(
        training_cost(request.data, request.config, members=models, engine=engine, **parts)
    )
