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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.errors import ArtefactError, MismatchError
from whence.evaluation.bank.pool import KIND as POOL
from whence.evaluation.bank.pool import Pool
from whence.retraining import MODEL_SUFFIX
from whence.retraining.subsets import classes_of

KIND = "bank"
#: Folder in ``runs`` of the models that are retrained for deletion; they are no pool.
REMOVALS = "removals"


@dataclass(frozen=True)
class StoredBank:
    """What a bank holds on disk, without its models: its directory, and the manifest that says how it was made."""

    path: Path
    manifest: Manifest

    @classmethod
    @artefacts.reader
    def open(cls, path: str | Path) -> Self:
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

    @property
    def draws(self) -> int:
        """Draws of every loss, the same for all models."""
        return int(self.manifest.made["draws"])

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
