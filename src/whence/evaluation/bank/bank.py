"""The bank with its models: what attributions are of, how they are measured, and the match of scores with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from whence import artefacts
from whence.artefacts import Manifest
from whence.diffusion.adapter_run import load_run, require_weights, verified_base
from whence.diffusion.base import Base
from whence.diffusion.encoding import FOLDER, Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.latent_request import ENCODERS
from whence.diffusion.model import fingerprint
from whence.diffusion.origin import Origin
from whence.diffusion.prompts import Prompts
from whence.evaluation.bank.alignment import data_fingerprints, reorder, require_match, with_means
from whence.evaluation.bank.stored_bank import StoredBank
from whence.retraining.measurement import RETRAINED, MeasurementPlan
from whence.retraining.retrain import Retraining, open_once
from whence.retraining.rule import RetrainingRule
from whence.scores.scores import Scores


@dataclass(frozen=True)
class Bank(StoredBank):
    """A bank of retrained models."""

    @cached_property
    def base(self) -> Path | None:
        """The folder of the base of models that are adapters, verified when it is first used; None for whole networks.

        An `ArtefactError` if it is not there, a `MismatchError` if it is another one than they were trained on.
        """
        return verified_base(self.path, self.manifest) if "base" in self.manifest.inputs else None

    @property
    def parts(self) -> dict[str, Any]:
        """Folders that the trainings need beside the data, see `Experiment`; encoders are those of the first model."""
        parts: dict[str, Any] = {name: self.models[0] for name in ENCODERS if name in self.manifest.inputs}
        parts |= {} if self.base is None else {"base": self.base}
        return parts | ({"encoding": self.path / FOLDER} if parts else {})

    @cached_property
    def encoders(self) -> Encoders:
        """From pictures and captions to what the models get."""
        return Encoders.of(self.models[0]) if self.base is None else Base.of(self.base, self.config).encoders

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the reference models' weights, checked by hash."""
        for k, path in enumerate(self.models):
            artefacts.require_part(self.path, self.manifest, f"models/{k}", "model")
            require_weights(path, self.base)
        return tuple(fingerprint(load_run(path, self.base)) for path in self.models)

    layout = RETRAINED
    start = None

    @cached_property
    def plan(self) -> MeasurementPlan:
        """What is measured of every model: the losses of the queries, and the drawn ones drawn again."""
        made = self.manifest.made
        prompts = Prompts.of_record(made["prompts"]) if "prompts" in made else None
        shared = (self.config.sampler, self.draws, int(made["seed"]), prompts)
        return MeasurementPlan((), None, self.queries_data, self.drawn, *shared)

    @property
    def reopen(self) -> Callable[[], Bank]:
        """Opens the bank in another process."""
        return partial(open_once, Bank.open, (self.path,), self.manifest.fingerprint)

    def retraining(self, name: str, rows: np.ndarray, seed: int, *, weighted: bool = False) -> Retraining:
        """Return a model to retrain on some rows, ascending, with the settings of the bank's models.

        A weighted one repeats a run on all examples, with weight 0 for the others; else it is trained on these alone.
        """
        rows, rule = np.asarray(rows, np.int64), RetrainingRule(kind="weight 0" if weighted else "retraining")
        config = rule.settings(self.config, len(rows), len(self.examples), seed)
        made = {
            "kept": artefacts.digest(rows.tobytes()),
            "examples": len(rows),
            "weighted": weighted,
            "config": config.record(),
            "draws": self.plan.draws,
        }
        return Retraining(name, rows, rule, config, {"bank": self.manifest.fingerprint}, made)

    def attribution_queries(self, drawn: bool | None = None) -> Examples:
        """Return the queries for `attribute`: all of them, or those that were drawn, or those held out."""
        rows = np.arange(len(self.queries)) if drawn is None else np.flatnonzero(self.drawn == drawn)
        origin = Origin(self.config.sampler, drawn=True, prompts=self.plan.prompts) if drawn else None
        return replace(self.encoders.encode_queries(self.queries_data.select(rows)), origin=origin)

    def require(self, scores: Scores, manifest: Manifest) -> Scores:
        """Return scores in the order of the bank, after a check that they are of its model, data and queries."""
        kinds = [kind for kind in (None, False, True) if kind is None or (self.drawn == kind).any()]
        queries = tuple(dict.fromkeys(self.attribution_queries(kind).fingerprint for kind in kinds))
        fingerprints = {"model": with_means(self.fingerprints), "data": data_fingerprints(self), "queries": queries}
        way_out = f"Attribute the bank's own: {self.attribution} --out scores/"
        require_match(scores.method, manifest, fingerprints, way_out)
        return reorder(scores, self.queries, self.examples)
