"""The metagradient: the exact derivative of a recorded training run by the weights of its examples."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from whence import artefacts
from whence.attribution.run_method import RunMethod
from whence.errors import ConfigError, WhenceWarning
from whence.seeds import derived_seed

if TYPE_CHECKING:
    from pathlib import Path

    from whence.attribution.request import AttributionRequest
    from whence.cost import Cost
    from whence.engine import Engine
    from whence.metagradient.make_derivative import Derivative
    from whence.metagradient.query_losses import QueryLosses
    from whence.metagradient.replay import Replay
    from whence.scores.scores import Scores


def metagradient(request: AttributionRequest, store: Path, engine: Engine) -> Scores:
    """Metagradient: S_qn = -w_n ∂L_q(a_T(w)) / ∂w_n, at the weights w of the run; w_n is that of the data, mostly 1.

    a_T(w) are the averaged weights at the end of the recorded run as a function of the weights w_n of its examples in
    the loss: its start, batches, timesteps, noise, flips and learning rates are as recorded. L_q is the mean denoising
    loss of query q over its draws. The derivative goes through every step: AdamW, clipping and averaging.

    Sign: positive is proponent; more weight on n makes the loss of q smaller. Unit: loss. Additive. The change that a
    removal makes, from w_n to 0, is extrapolated to the first order, S_qn. How far that holds depends on the recipe of
    the training; `whence evaluate smoothness` measures it.

    Source: Engstrom et al. 2025, "Optimizing ML training with metagradient descent" (arXiv 2503.13751);
    Ilyas & Engstrom 2025, "MAGIC" (arXiv 2504.16430); reverse mode: Maclaurin et al. 2015 (arXiv 1502.03492).

    Args:
        request: What is attributed to what.
        store: Folder for the derivative, which is found again there.
        engine: Where the replay runs; its report is called with (work done, work in all).

    Returns:
        Scores without standard errors: those of the draws are not known.

    Raises:
        ConfigError: The model is not one recorded run, or only some of its parameters are differentiated.
        ArtefactError, MismatchError, ModelError: The run has no record, is not replayed to the weights that it saved,
            or can't be differentiated.
        NotFiniteError: A loss is not finite.
    """
    from whence.metagradient.make_derivative import make_derivative
    from whence.scores.scores import Estimand, Scores

    replay, queries = open_replay_of(request, engine)
    draws = request.config.draws
    made = {"draws": draws, "seed": request.config.seed}
    place = store / f"derivative-{artefacts.digest([request.inputs, made])[:12]}"
    derivative = make_derivative(
        place, replay, queries, request.target.model, inputs=request.inputs, made=made, engine=engine
    )
    warn_of_clipping(derivative)
    weights = derivative.values.new_tensor(list(request.weights.values()))
    return Scores(
        scores=-(derivative.values * weights).float(),
        queries=request.queries.ids,
        examples=request.examples.ids,
        units=request.units,
        method=METAGRADIENT.name,
        estimand=Estimand(
            METAGRADIENT.behaviour,
            "an infinitely small change of the weight of an example in the loss",
            f"this very run, replayed; the gradient was clipped in {derivative.clipped:.0%} of its steps",
            request.target.fingerprint,
            "example",
        ),
        sign="positive is proponent",
        combine="sum",
        draws=draws,
    )


def metagradient_cost(request: AttributionRequest, engine: Engine) -> Cost:
    """Return the cost of `metagradient`, by a few steps."""
    from whence.metagradient.make_derivative import derivative_cost

    replay, queries = open_replay_of(request, engine)
    return derivative_cost(replay, len(queries))


def open_replay_of(
    request: AttributionRequest, engine: Engine, title: str = "The metagradient"
) -> tuple[Replay, QueryLosses]:
    """Open the run of a request, and the losses of its queries at the draws that all methods give them.

    Returns:
        The replay, and the losses.

    Raises:
        ConfigError: It is not one recorded run with its images, or some parameters alone are to be differentiated; the
            message begins with the title of the method.
    """
    from pathlib import Path

    from whence.diffusion.adapter_run import AdapterRun
    from whence.gradients.draw_sources import OwnDraws
    from whence.metagradient.query_losses import QueryLosses
    from whence.metagradient.recorded_run import open_replay

    run, target = request.target.runs[0], request.target
    if target.ensemble is not None or len(target.runs) > 1 or target.adapters or not isinstance(run, Path | AdapterRun):
        raise ConfigError(
            f"{title} differentiates one recorded run, and {target.name} is something else. Give a run of "
            "`whence train`, or leave this method out."
        )
    if request.parameters is not None:
        raise ConfigError(
            f"{title} differentiates all weights that were trained; given {request.parameters!r}. Leave "
            "--parameters out."
        )
    if request.data is None:
        raise ConfigError(f"{title} trains again; give the training images as a Dataset, not as tensors.")
    replay = open_replay(run, request.data, request.examples, engine)
    draws = target.model.process.draws(derived_seed(request.config.seed, "queries"))
    return replay, QueryLosses(replay.loss, request.queries, OwnDraws(draws), request.config.draws)


def warn_of_clipping(derivative: Derivative) -> None:
    """Say in how many steps the gradient was clipped, if in any."""
    if derivative.clipped:
        warnings.warn(
            f"The gradient was clipped in {derivative.clipped:.0%} of the steps of this run. The derivative is exact, "
            "but it may hold for very small changes of weights alone: `whence evaluate smoothness` measures how far.",
            WhenceWarning,
            stacklevel=3,
        )


METAGRADIENT = RunMethod(
    name="metagradient",
    title="Metagradient",
    paper="Engstrom et al. 2025, arXiv 2503.13751, and Ilyas & Engstrom 2025, arXiv 2504.16430",
    function=metagradient,
    plan=metagradient_cost,
    readout="loss of the query after training, by the weight of an example",
    needs="one recorded run in float32, and its data",
    cost="2 trainings, and about 2 to 3 more for each query",
)
