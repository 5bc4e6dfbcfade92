"""The bank of retrained models: what they were trained on, what was asked of them, and what they answered.

bank/data/          the training examples
bank/queries/       held-out pictures, and pictures that the first reference model drew
bank/models/0/ ...  reference models, trained on everything; attributions are of these
bank/reference/     their measurements
bank/pools/test/    models retrained on recorded subsets, measured
bank/runs/          measurements of a pool that is not whole yet
bank/removals/      models retrained without what a method names, measured
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.artefacts import Manifest
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples, Origin
from whence.diffusion.model import DiffusionModel, fingerprint
from whence.errors import ArtefactError, MismatchError
from whence.evaluation.bank.matching import reordered, require_match, with_means
from whence.evaluation.bank.pool import KIND as POOL
from whence.evaluation.bank.pool import Pool
from whence.evaluation.bank.subsets import classes_of
from whence.scores.scores import Scores
from whence.seeds import derived_seed

KIND = "bank"
#: Folder in ``runs`` of models that are retrained for deletion, which make no pool.
REMOVALS = "removals"
#: How the folder of a retrained model ends; that of its measurement has the name without it.
MODEL_SUFFIX = ".model"


@dataclass(frozen=True)
class Bank:
    """A bank of retrained models.

    Attributes:
        path: Its directory.
        manifest: How it was made.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Bank:
        """Return the bank in a directory; ``digits`` is the one that comes with Whence.

        Raises:
            ArtefactError: There is none, or it, its data or its queries are unfinished or damaged.
        """
        place = SHIPPED / str(path) if str(path) in shipped() else Path(path)
        manifest = artefacts.read_verified(place, KIND)
        for name in ("data", "queries"):
            artefacts.require_part(place, manifest, name, "dataset")
            artefacts.read_verified(place / name, "dataset")
        return cls(place, manifest)

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
        even: np.ndarray = np.arange(len(self.queries)) % 2 == 0
        return even

    @cached_property
    def models(self) -> tuple[Path, ...]:
        """The reference models."""
        return tuple(self.path / "models" / str(k) for k in range(self.manifest.made["models"]))

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the reference models' weights, checked by hash."""
        for k, path in enumerate(self.models):
            artefacts.require_part(self.path, self.manifest, f"models/{k}", "model")
            artefacts.verify(path, artefacts.read_manifest(path, "model"), "unet/")
        return tuple(fingerprint(DiffusionModel.load(path)) for path in self.models)

    @cached_property
    def draws(self) -> Draws:
        """The draws of every query at which all models are measured."""
        seed = derived_seed(self.manifest.made["seed"], "measurement")
        return Draws(seed, self.config.model.timesteps)

    @property
    def draws_per_query(self) -> int:
        """How many of them."""
        return int(self.manifest.made["draws"])

    @cached_property
    def pools(self) -> Mapping[str, Pool]:
        """The pools that are whole, by name, checked by hash."""
        return {path.name: self._read_pool(path) for path in artefacts.whole(self.path / "pools", "*")}

    @cached_property
    def reference(self) -> Pool:
        """The reference models as a pool of one subset, all examples, and K' seeds.

        Raises:
            ArtefactError: They are not measured yet, or the measurements are damaged.
        """
        return self._read_pool(self.path / "reference")

    @property
    def full(self) -> np.ndarray:
        """Losses of the queries under the reference models, trained on everything, float64 [K', Q]."""
        losses: np.ndarray = self.reference.losses[0]
        return losses

    def _read_pool(self, path: Path) -> Pool:
        """Return the pool in a directory.

        Raises:
            MismatchError: It is of another bank.
        """
        given = artefacts.read_manifest(path, POOL).inputs.get("bank")
        if given != self.manifest.fingerprint:
            raise MismatchError(
                f"{path} was measured on another bank: fingerprint {str(given)[:12]}, {self.path} is "
                f"{self.manifest.fingerprint[:12]}. Measurements belong to the bank whose data, queries and reference "
                "models they were made with."
            )
        return Pool.read(path)

    @cached_property
    def unfinished(self) -> Mapping[str, int]:
        """Pools that are not whole yet, by name: how many of their models are measured."""
        found = Counter(
            path.parent.name for path in artefacts.whole(self.path / "runs", "*/*") if path.suffix != MODEL_SUFFIX
        )
        return {name: found[name] for name in sorted(found) if name not in (*self.pools, REMOVALS)}

    def pool(self, name: str) -> Pool:
        """Return a pool.

        Raises:
            ArtefactError: The bank has none of that name, or it is unfinished.
        """
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
        origin = Origin(self.config.sampler, drawn=True) if drawn else None
        return Examples(tuple(self.queries[q] for q in rows), self.queries_data.images(rows), origin=origin)

    def require(self, scores: Scores, manifest: Manifest) -> Scores:
        """Return scores in the order of the bank, after a check that they are of its model, data and queries.

        Raises:
            MismatchError: They are of others; the fingerprints of both are named.
        """
        require_match(
            scores.method, manifest, self._known, f"Attribute the bank's own: {self.attribution} --out scores/"
        )
        return reordered(scores, self.queries, self.examples)

    @property
    def attribution(self) -> str:
        """The command that attributes all queries to all examples, but for its ``--method`` and ``--out``."""
        own = (self.models[0], self.path / "data", "--queries", self.path / "queries")
        return shlex.join(map(str, ("whence", "attribute", *own)))

    @cached_property
    def _known(self) -> dict[str, tuple[str, ...]]:
        """Fingerprints that scores may be of, by role: a model or a mean of models, all queries or one kind."""
        kinds = [kind for kind in (None, False, True) if kind is None or (self.drawn == kind).any()]
        queries = dict.fromkeys(self.attribution_queries(kind).fingerprint for kind in kinds)
        return {
            "model": with_means(self.fingerprints),
            "data": (Examples.of(self.data).fingerprint,),
            "queries": tuple(queries),
        }


#: Banks that come with Whence.
SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> tuple[str, ...]:
    """Names of the banks that come with Whence."""
    return tuple(path.name for path in artefacts.whole(SHIPPED, "*")) if SHIPPED.is_dir() else ()
