"""The bank: models that were retrained on recorded subsets, and their measurements.

bank/data/          the training examples
bank/encoding/      of models that are adapters: latents and embedded captions of the examples
bank/queries/       the queries: held-out pictures, and pictures that the first reference model drew
bank/models/0/ ...  reference models, trained on everything; attributions are of these
bank/reference/     their measurements
bank/pools/test/    measurements of models that were retrained on recorded subsets
bank/runs/          measurements of a pool that is unfinished
bank/removals/      measurements of models that were retrained without the examples that a method names
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.adapter_run import load_run, require_weights, verified_base
from whence.diffusion.encoding import FOLDER, Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import fingerprint
from whence.diffusion.origin import Origin
from whence.diffusion.prompts import Prompts
from whence.errors import ArtefactError, MismatchError
from whence.evaluation.bank.alignment import data_fingerprints, reorder, require_match, with_means
from whence.evaluation.bank.pool import KIND as POOL
from whence.evaluation.bank.pool import Pool
from whence.retraining.measurement import RETRAINED, MeasurementPlan
from whence.retraining.retrain import MODEL_SUFFIX, Retraining, open_once
from whence.retraining.rule import RetrainingRule
from whence.retraining.subsets import classes_of
from whence.scores.scores import Scores

KIND = "bank"
#: Folder in ``runs`` of the models that are retrained for deletion; they are no pool.
REMOVALS = "removals"


@dataclass(frozen=True)
class Bank:
    """A bank of retrained models: its directory, and the manifest that says how it was made."""

    path: Path
    manifest: Manifest

    @classmethod
    @artefacts.reader
    def open(cls, path: str | Path) -> Bank:
        """Return the bank in a directory; ``digits`` is the one that comes with Whence.

        Raises:
            ArtefactError: There is none, or it, its data or its queries are unfinished or damaged.
        """
        folder = SHIPPED / str(path) if str(path) in shipped() else Path(path)
        manifest = artefacts.read_verified(folder, KIND)
        for name in ("data", "queries"):
            artefacts.require_part(folder, manifest, name, "dataset")
            artefacts.read_verified(folder / name, "dataset")
        return cls(folder, manifest)

    @cached_property
    def config(self) -> Config:
        """Settings of a model that is trained on everything, and of the sampler."""
        return Config(**self.manifest.made["config"])

    @cached_property
    def base(self) -> Path | None:
        """The folder of the base of models that are adapters, verified when it is first used; None for whole networks.

        An `ArtefactError` if it is not there, a `MismatchError` if it is another one than they were trained on.
        """
        return verified_base(self.path, self.manifest) if "base" in self.manifest.inputs else None

    @property
    def encoding(self) -> Path | None:
        """Where the training examples are encoded for the base; None without one."""
        return self.path / FOLDER if "base" in self.manifest.inputs else None

    @cached_property
    def encoders(self) -> Encoders:
        """From pictures and captions to what the models get."""
        return Encoders.of(self.models[0] if self.base is None else self.base)

    @cached_property
    def data(self) -> Dataset:
        """The training examples."""
        return read(self.path / "data")

    @property
    def examples(self) -> tuple[str, ...]:
        """Ids of the training examples, N."""
        return self.data.ids

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class of every training example, N; subsets are stratified by it."""
        return classes_of(self.data)

    @cached_property
    def queries_data(self) -> Dataset:
        """The queries as pictures of whole grey levels; units say how they came: ``held out`` or ``drawn``."""
        return read(self.path / "queries")

    @property
    def queries(self) -> tuple[str, ...]:
        """Ids of the queries, Q."""
        return self.queries_data.ids

    @cached_property
    def drawn(self) -> np.ndarray:
        """Whether the first reference model drew the query, bool [Q]."""
        return np.array(["drawn" in units for units in self.queries_data.units], bool)

    @cached_property
    def development(self) -> np.ndarray:
        """Whether knobs may be chosen on the query, bool [Q]: every other one; the rest is for what is reported."""
        return np.array([q % 2 == 0 for q in range(len(self.queries))], bool)

    @cached_property
    def models(self) -> tuple[Path, ...]:
        """The reference models."""
        return tuple(self.path / "models" / str(k) for k in range(self.manifest.made["models"]))

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
        shared = (self.config.sampler, int(made["draws"]), int(made["seed"]), prompts)
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

    @cached_property
    def pools(self) -> Mapping[str, Pool]:
        """The finished pools by name, checked by hash."""
        return {path.name: self._read_pool(path) for path in artefacts.whole(self.path / "pools", "*")}

    @cached_property
    def reference(self) -> Pool:
        """The reference models as a pool of one subset, all examples, and K' seeds."""
        return self._read_pool(self.path / "reference")

    @property
    def full(self) -> np.ndarray:
        """Losses of the queries under the reference models, trained on everything, float64 [K', Q]."""
        losses: np.ndarray = self.reference.losses[0]
        return losses

    def _read_pool(self, path: Path) -> Pool:
        """Return the pool in a directory; raise MismatchError if it is of another bank."""
        bank = artefacts.read_manifest(path, POOL).inputs.get("bank")
        if bank != self.manifest.fingerprint:
            raise MismatchError(
                f"{path} was measured on another bank: fingerprint {str(bank)[:12]}, {self.path} is "
                f"{self.manifest.fingerprint[:12]}. Measurements belong to the bank whose data, queries and reference "
                "models they were made with."
            )
        return Pool.read(path)

    @cached_property
    def unfinished(self) -> Mapping[str, int]:
        """How many models of each unfinished pool are measured, by its name."""
        runs = artefacts.whole(self.path / "runs", "*/*")
        counts = Counter(path.parent.name for path in runs if path.suffix != MODEL_SUFFIX)
        return {name: counts[name] for name in sorted(counts) if name not in (*self.pools, REMOVALS)}

    def pool(self, name: str) -> Pool:
        """Return a pool; raise ArtefactError if the bank has none of that name, or it is unfinished."""
        if name in self.unfinished:
            raise ArtefactError(
                f"The pool {name!r} of {self.path} is unfinished: {self.unfinished[name]} of its models are measured. "
                "Run the `whence bank build` that makes it again: it continues."
            )
        if name not in self.pools:
            raise ArtefactError(f"The bank {self.path} has no pool {name!r}; it has {', '.join(self.pools) or 'none'}.")
        return self.pools[name]

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

    @property
    def attribution(self) -> str:
        """The command that attributes all queries to all examples; ``--method`` and ``--out`` are to be added."""
        arguments = (self.models[0], self.path / "data", "--queries", self.path / "queries")
        return shlex.join(map(str, ("whence", "attribute", *arguments)))


#: Banks that come with Whence.
SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> tuple[str, ...]:
    """Names of the banks that come with Whence."""
    return tuple(path.name for path in artefacts.whole(SHIPPED, "*")) if SHIPPED.is_dir() else ()
