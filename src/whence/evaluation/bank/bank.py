"""The bank of retrained models: what they were trained on, what was asked of them, and what they answered.

bank/data/          the training examples
bank/queries/       held-out pictures, and pictures that the first reference model drew
bank/models/0/ ...  reference models, trained on everything; attributions are of these
bank/pools/test/    models retrained on recorded subsets, measured
bank/removals/      models retrained without what a method names, measured
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from whence import artefacts
from whence.artefacts import Manifest
from whence.attribution.queries import Queries
from whence.attribution.scores import Scores
from whence.config import Config
from whence.data import Dataset, read
from whence.diffusion.draws import Draws
from whence.diffusion.process import DiffusionModel
from whence.errors import ArtefactError, MismatchError
from whence.evaluation.bank.pool import Pool
from whence.evaluation.bank.subsets import classes_of
from whence.gradients.examples import Examples
from whence.gradients.subject import fingerprint
from whence.seeds import derived_seed

KIND = "bank"


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
            ArtefactError: There is none, or it is unfinished or damaged.
        """
        place = SHIPPED / str(path) if str(path) in shipped() else Path(path)
        manifest = artefacts.read_verified(place, KIND)
        for name, kind in (("data", "dataset"), ("queries", "dataset")):
            artefacts.require_part(place, manifest, name, kind)
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
        """Fingerprints of the reference models' weights."""
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
        """The pools, by name."""
        found = [Pool.read(path) for path in artefacts.whole(self.path / "pools", "*")]
        return {pool.name: pool for pool in found}

    def pool(self, name: str) -> Pool:
        """Return a pool.

        Raises:
            ArtefactError: The bank has none of that name.
        """
        if name not in self.pools:
            raise ArtefactError(f"The bank {self.path} has no pool {name!r}; it has {', '.join(self.pools) or 'none'}.")
        return self.pools[name]

    def asked(self, drawn: bool | None = None) -> Queries:
        """Return the queries for `attribute`: all of them, or those that were drawn, or those held out."""
        chosen = np.arange(len(self.queries)) if drawn is None else np.flatnonzero(self.drawn == drawn)
        names, pictures = tuple(self.queries[q] for q in chosen), self.queries_data.images(chosen)
        return Queries(names, pictures, self.config.sampler if drawn else None, drawn=bool(drawn))

    def require(self, scores: Scores, manifest: Manifest) -> Scores:
        """Return scores in the order of the bank, after a check that they are of its model, data and queries.

        Raises:
            MismatchError: They are of others; all fingerprints are named.
        """
        asked = {name: Examples(q.names, q.pictures).fingerprint for name, q in self._askable.items()}
        models = {artefacts.digest(list(self.fingerprints[: k + 1])) for k in range(1, len(self.models))}
        known = {
            "model": models | set(self.fingerprints),
            "data": {Examples.of(self.data).fingerprint},
            "queries": set(asked.values()),
        }
        for role, expected in known.items():
            if (given := manifest.inputs.get(role)) not in expected:
                raise MismatchError(
                    f"These scores by {scores.method} are of another {role} than the bank {self.path}: fingerprint "
                    f"{str(given)[:12]}, the bank has {', '.join(sorted(one[:12] for one in expected))}. Attribute "
                    f"the bank's own: whence attribute {self.models[0]} {self.path / 'data'} --queries "
                    f"{self.path / 'queries'} --out scores/"
                )
        return reordered(scores, self.queries, self.examples)

    @cached_property
    def _askable(self) -> dict[str, Queries]:
        return {"all": self.asked(), "drawn": self.asked(True), "held out": self.asked(False)}


def reordered(scores: Scores, queries: tuple[str, ...], examples: tuple[str, ...]) -> Scores:
    """Return scores with examples in a given order, and those of the queries that there are in a given order."""
    lines = [scores.queries.index(name) for name in queries if name in set(scores.queries)]
    place = {name: n for n, name in enumerate(scores.examples)}
    columns = [place[name] for name in examples]
    row, column = torch.tensor(lines), torch.tensor(columns)

    def of(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[..., row, :][..., column]

    return Scores(
        scores=scores.scores[row][:, column],
        queries=tuple(scores.queries[q] for q in lines),
        examples=examples,
        units=tuple(scores.units[n] for n in columns),
        method=scores.method,
        estimand=scores.estimand,
        sign=scores.sign,
        combine=scores.combine,
        standard_error=of(scores.standard_error),
        draws=scores.draws,
        deviations=of(scores.deviations),
    )


#: Banks that come with Whence.
SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> tuple[str, ...]:
    """Names of the banks that come with Whence."""
    return tuple(path.name for path in artefacts.whole(SHIPPED, "*")) if SHIPPED.is_dir() else ()
