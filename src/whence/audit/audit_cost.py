"""The cost of audits, from the measured time of a part of the work."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from whence.attribution.attribution_cost import attribution_cost
from whence.attribution.feature_store import FeatureStore
from whence.attribution.request import AttributionConfig
from whence.attribution.target import Target
from whence.audit.captions import OTHERS
from whence.audit.make_data_audit import METHOD
from whence.audit.self_influence import self_plan
from whence.cost import Cost, peak_memory
from whence.data import Dataset
from whence.engine import DEFAULT, Engine
from whence.ensemble.drawing_cost import losses_cost
from whence.retraining.denoising_losses import time_losses

#: Bytes on disk of an image in the tables.
ROW = 400


def data_audit_cost(target: Target, data: Dataset, draws: int, seed: int, *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of `audit_data`: gradients of every image, and losses with its own and other captions."""
    passes = 2 + OTHERS if any(target.encoders.captions(data)) else 1
    losses = _losses_cost(target, data, passes * len(data), draws, engine)
    if target.ensemble is not None:
        return losses
    config = AttributionConfig(draws=draws, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        plan = self_plan(target, data, METHOD, config, Path(scratch) / "encoding")
        return attribution_cost(plan, FeatureStore(Path(scratch)), engine=engine).then(losses)


def membership_cost(target: Target, pictures: Dataset, count: int, draws: int, *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of `audit_membership` of `count` pictures and controls together, measured on the pictures."""
    first = 2 if target.ensemble is None else 1  # a recorded run is also measured at its first checkpoint
    return _losses_cost(target, pictures, first * count, draws, engine)


def memorisation_cost(target: Target, data: Dataset, count: int, steps: int, *, engine: Engine = DEFAULT) -> Cost:
    """Return the cost of `audit_memorisation`: a sampling step takes as long as a loss, twice as long when guided."""
    guided = 2 if any(target.encoders.captions(data)) else 1
    cost = _losses_cost(target, data, count, guided * steps, engine)
    return Cost(cost.seconds, cost.memory, count * (math.prod(data.size) + ROW), f"{count:,} pictures in {steps} steps")


def _losses_cost(target: Target, data: Dataset, pictures: int, draws: int, engine: Engine) -> Cost:
    """The cost of the losses of so many pictures, measured on some of `data`."""
    if target.ensemble is not None:
        return losses_cost(target.ensemble, pictures, draws, engine=engine)
    models = target.checkpoints("model", data.ids)
    seconds = sum(time_losses(one.checkpoint.open(), data, draws, pictures) for one in models[:1]) * len(models)
    return Cost(seconds, peak_memory(), ROW * pictures, f"{pictures:,} losses of a picture at {draws} draws")
