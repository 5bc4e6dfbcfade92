"""The feature store: the folder in which everything is made and found that the scores of a plan are computed from.

STORE/sets/, STORE/MODEL/   compressed gradients of training examples and queries; see `feature_folder`
STORE/whole/                curvature, and what methods with curvature need; see `influence_store`
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from whence.attribution.feature_folder import FeatureFolder
from whence.attribution.feature_plan import FeaturePlan, FeatureSet, Term
from whence.attribution.influence_store import InfluenceStore, StoredInfluence
from whence.attribution.method import Method
from whence.engine import DEFAULT, Engine, staged
from whence.gradients.features import Feature
from whence.gradients.make_features import FeatureJob, make_features, missing_rows
from whence.gradients.stored_features import StoredFeatures


@dataclass(frozen=True)
class FeatureStore:
    """Features and influence of any number of models, training examples and queries in one folder."""

    folder: Path

    @cached_property
    def compressed(self) -> FeatureFolder:
        """Where compressed gradients are."""
        return FeatureFolder(self.folder)

    @cached_property
    def influence(self) -> InfluenceStore:
        """Where curvature and the scores by it are."""
        return InfluenceStore(FeatureFolder(self.folder / "whole"))

    def extend(self, plan: FeaturePlan, *, shorten: bool = False, engine: Engine = DEFAULT) -> None:
        """Make what is missing of a plan. Interrupted, the same call continues.

        Args:
            plan: The plan.
            shorten: Whether features of more draws than the plan has are removed and made anew, instead of refused.
            engine: Its report is called with (rows done, rows in all); a row is a draw of an example.

        Raises:
            ModelError: A parameter can't be differentiated example by example.
            DataError: The examples don't fit the model.
            NotFiniteError: A weight or a gradient is not finite.
            MismatchError: The store holds features of other examples or settings.
            ConfigError: The store holds more draws already, or its features can't be extended.
        """
        jobs = self.compressed.prepare(plan.compressed, shorten=shorten, engine=engine)
        of_compressed, of_curved = staged(engine, [missing_rows(jobs), self.influence.rows(plan.curved)])
        make_features(jobs, engine=of_compressed)
        self.influence.extend(plan.curved, shorten=shorten, engine=of_curved)

    def jobs(self, plan: FeaturePlan, *, engine: Engine = DEFAULT) -> dict[FeatureSet, FeatureJob]:
        """Return the job of each set of gradients of a plan."""
        compressed, curved = self.compressed.jobs(plan.compressed, engine=engine), plan.curved
        return compressed | self.influence.jobs(curved, engine=engine)

    def missing(self, plan: FeaturePlan, *, engine: Engine = DEFAULT) -> dict[FeatureSet, FeatureJob]:
        """Return the jobs of gradients that are still to be taken."""
        compressed = self.compressed.jobs(plan.compressed, engine=engine)
        missing = {feature_set: job for feature_set, job in compressed.items() if job.missing()}
        return missing | self.influence.missing(plan.curved, engine=engine)

    def features(self, plan: FeaturePlan, feature_set: FeatureSet, kind: Feature) -> StoredFeatures:
        """Return features of a plan that are there."""
        return self.compressed.features(plan, feature_set, kind)

    def scores(self, plan: FeaturePlan, term: Term, method: Method) -> StoredInfluence:
        """Return scores by a method with curvature that are there."""
        return self.influence.scores(plan.curved, term, method)
