"""The features in a folder of scores as the source of an index, with what is needed to make those of a new query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from whence import artefacts
from whence.artefacts import Manifest
from whence.attribution.feature_plan import FeaturePlan, Term
from whence.attribution.feature_store import FeatureStore
from whence.attribution.index.fill_index import FeatureBlock, IndexSource
from whence.attribution.inner_product import InnerProduct
from whence.attribution.method import Method
from whence.attribution.methods import METHODS, method
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.target import Target
from whence.attribution.target_options import reopen
from whence.attribution.term_features import TermFeatures
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT
from whence.errors import ConfigError, MismatchError
from whence.gradients.gradient_spec import GradientSpec
from whence.scores.stored import require_one


@dataclass(frozen=True, eq=False)
class ScoredFeatures:
    """The features of the examples and queries of the scores of one method.

    Attributes:
        method: The method.
        plan: The plan of its features.
        term: Its only term.
        features: The features of examples and queries.
        spec: The model and the compression of the features.
        opened: How the model is opened again.
    """

    method: Method
    plan: FeaturePlan
    term: Term
    features: TermFeatures
    spec: GradientSpec
    opened: dict[str, Any]

    @classmethod
    def open(cls, scores: Path, store: Path | None = None, model: str | None = None) -> ScoredFeatures:
        """Return the features of the scores in a folder, which `whence attribute` made.

        Args:
            scores: The folder of one method's scores, or the OUT of the only method in it.
            store: The folder of the features; default ``OUT/features``.
            model: Where the model is now; default where it was.

        Raises:
            ConfigError: The score is no inner product, is the sum over several sets of weights, or compares pictures of
                several shapes; or the folder was made by a version that did not record its model.
            MismatchError: Features or the model are others than those of the scores.
            ArtefactError: There are no scores or features, or they are damaged.
        """
        folder = require_one(scores)
        made = artefacts.read_manifest(folder, "scores").made
        chosen, config = _require_product(str(made["method"])), AttributionConfig(**made["config"])
        if config.prefilter is not None:
            raise ConfigError(
                f"The scores in {folder} are of the candidates of a prefilter; an index is of all training examples. "
                "Attribute without --prefilter."
            )
        claimed = artefacts.read_verified(folder.parent / "request", "attribution")
        place = store or folder.parent / "features"
        request = _request(folder.parent, claimed, place, chosen, config, model)
        plan = FeaturePlan.of(request)
        terms = plan.terms[chosen]
        if len(terms) > 1:
            raise ConfigError(
                f"These scores are the sum over {len(terms)} sets of weights; an index is of one. Attribute with one "
                "model, and a method that looks at its final weights."
            )
        found = FeatureStore(place)
        features = TermFeatures.open(plan, found, terms[0], chosen.feature, plan.query_ids(chosen))
        counts = {features.examples.draws, features.queries.draws}
        if counts != {config.draws}:
            raise MismatchError(
                f"{place} has features of {max(counts)} draws, the scores in {folder} are of {config.draws}. Make the "
                "scores again with as many: the same `whence attribute` with more --draws."
            )
        spec = found.compressed.job(plan, terms[0].examples, (chosen.feature,), False, DEFAULT).spec
        opened = {**claimed.facts["target"], "parameters": claimed.facts["parameters"]}
        return cls(chosen, plan, terms[0], features, spec, opened)

    @property
    def inner(self) -> InnerProduct:
        """How the score is an inner product."""
        assert self.method.inner is not None
        return self.method.inner

    @property
    def damping(self) -> float | None:
        """The damping of the scores; None for a method without."""
        return self.plan.dampings_of(self.method)[0] if self.method.damped else None

    @property
    def source(self) -> IndexSource:
        """What an index is made from."""
        features = self.features
        return IndexSource(
            ids=features.examples.ids,
            widths=features.examples.widths,
            blocks=self._blocks,
            queries=features.query_means(),
            inner=self.inner,
            damping=self.damping,
            units=None if features.ridge is None else features.units,
        )

    def _blocks(self) -> Iterator[FeatureBlock]:
        """Yield the features of one batch of examples after the other."""
        start, weights, order = 0, self.features.weights, self.features.order
        shares = order.weights[order.positions]
        for sums in self.features.examples.shards():
            rows = slice(start, start + sums.sums.shape[1])
            own = None if weights is None else weights[rows]
            yield FeatureBlock(sums.mean(), sums.loss(), own, shares[rows])
            start = rows.stop

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of what an index is made from."""
        manifests = {"features": self.features.examples.path, "queries": self.features.queries.path}
        stored = {name: artefacts.read_manifest(path, "features").fingerprint for name, path in manifests.items()}
        return {**self.plan.request.inputs, **stored}

    @property
    def made(self) -> dict[str, Any]:
        """What is needed to make the features of a new query, for the manifest."""
        return {
            "method": self.method.name,
            "damping": self.plan.request.config.damping or self.damping,
            "draws": self.features.examples.draws,
            "seed": self.plan.request.config.seed,
            "checkpoint": self.spec.fingerprint,
            "compression": dict(self.spec.compression),
            "parameters": self.spec.size,
        }


def _require_product(name: str) -> Method:
    """Return the method of a name, whose score is an inner product."""
    chosen = method(name)
    if chosen.inner is None:
        known = ", ".join(one.name for one in METHODS.values() if one.inner is not None)
        raise ConfigError(
            f"The scores of {name} are no inner products of a picture and an example, so they can't be searched. There "
            f"are indices of {known}."
        )
    return chosen


def _request(
    out: Path, claimed: Manifest, store: Path, chosen: Method, config: AttributionConfig, model: str | None
) -> AttributionRequest:
    """Return the request of scores, with the examples and queries that are beside the features."""
    recorded = claimed.facts.get("target")
    if recorded is None:
        raise ConfigError(
            f"{out} does not say how its model is opened: it is of several models, of one in memory, or of an older "
            "version. Attribute again, with one model in a folder, and another OUT."
        )
    data, queries = (Examples.read(store / "sets" / claimed.inputs[name][:12]) for name in ("data", "queries"))
    target, parameters = reopen(Target, recorded, model), claimed.facts["parameters"]
    request = AttributionRequest.of(target, data, queries, chosen, config, parameters)
    if "weights" in claimed.inputs:
        table = artefacts.read_table(out / "request" / "weights.parquet")
        known = dict(zip(table["id"], table["weight"], strict=True))
        weights = [known[name] for name in request.examples.ids]
        vars(request)["example_weights"] = torch.tensor(weights, dtype=torch.float64)
    for name, recorded_as in claimed.inputs.items():
        found = artefacts.digest(request.weights) if name == "weights" else request.inputs[name]
        if found != recorded_as:
            raise MismatchError(
                f"The {name} of the scores in {out} had the fingerprint {recorded_as}; there is {found}."
            )
    if request.canvas is not None:
        raise ConfigError(
            "An index compares pictures of one shape, and these have several. Attribute with --resolution."
        )
    return request
