"""The feature folder: where the features of a plan with one compression are made and found.

FOLDER/sets/SET/           training examples and queries, by fingerprint
FOLDER/MODEL/subject/      the gradient spec of a model, by fingerprint
FOLDER/MODEL/examples/     features of the training examples; see `whence.gradients.stored_features`
FOLDER/MODEL/queries-SET/  features of queries
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from whence.attribution.feature_plan import FeaturePlan, FeatureSet
from whence.diffusion.checkpoint import Checkpoint, LoadedCheckpoint
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine
from whence.gradients.batch_rows import batch_of
from whence.gradients.features import Feature
from whence.gradients.gradient_spec import GradientSpec, make_gradient_spec
from whence.gradients.make_features import FeatureJob, make_features
from whence.gradients.stored_features import StoredFeatures


@dataclass(frozen=True)
class FeatureFolder:
    """Features of any number of models, training examples and queries in one folder."""

    folder: Path
    _specs: dict[tuple[object, ...], GradientSpec] = field(default_factory=dict, repr=False, compare=False)

    def extend(self, plan: FeaturePlan, *, shorten: bool = False, engine: Engine = DEFAULT) -> None:
        """Make the features of a plan that are missing. Interrupted, the same call continues.

        The arguments and errors are those of `FeatureStore.extend`.
        """
        make_features(self.prepare(plan, shorten=shorten, engine=engine), engine=engine)

    def prepare(self, plan: FeaturePlan, *, shorten: bool = False, engine: Engine = DEFAULT) -> list[FeatureJob]:
        """Return the jobs of a plan, whose examples are then in the folder; the arguments are those of `extend`."""
        jobs = self.jobs(plan, keep=True, engine=engine)
        for feature_set, job in jobs.items():
            feature_set.examples.write(job.examples)
            if shorten:
                job.shorten()
        return list(jobs.values())

    def jobs(self, plan: FeaturePlan, *, keep: bool = False, engine: Engine = DEFAULT) -> dict[FeatureSet, FeatureJob]:
        """Return the job of each folder of features of a plan; `keep` writes the gradient specs that are measured."""
        jobs: dict[Path, tuple[FeatureSet, FeatureJob]] = {}
        for feature_set, kinds in plan.kinds.items():
            job = self.job(plan, feature_set, kinds, keep, engine)
            if job.path in jobs:  # Two checkpoints of a plan may have the same weights.
                job = replace(job, kinds=tuple(sorted({*job.kinds, *jobs[job.path][1].kinds})))
            jobs[job.path] = feature_set, job
        return dict(jobs.values())

    def features(self, plan: FeaturePlan, feature_set: FeatureSet, kind: Feature) -> StoredFeatures:
        """Return features of a plan that are there."""
        return StoredFeatures.open(self.job(plan, feature_set, (kind,), False, DEFAULT).path, kind)

    def job(
        self, plan: FeaturePlan, feature_set: FeatureSet, kinds: Sequence[Feature], keep: bool, engine: Engine
    ) -> FeatureJob:
        """Return the job of some kinds of features of a set of examples; `keep` writes a spec that is measured."""
        spec, examples = self._spec(plan, feature_set.checkpoint, keep, engine), feature_set.examples
        return FeatureJob(
            path=self.folder / spec.fingerprint[:12] / feature_set.name,
            spec=spec,
            examples=self.path_of(examples),
            fingerprint=examples.fingerprint,
            source=feature_set.source,
            draws=feature_set.draws,
            kinds=tuple(kinds),
            batch=spec.multiple * batch_of(examples),
            precision=plan.request.config.precision,
        )

    def path_of(self, examples: Examples) -> Path:
        """Return where a set of examples is written."""
        return self.folder / "sets" / examples.fingerprint[:12]

    def _spec(
        self, plan: FeaturePlan, checkpoint: Checkpoint | LoadedCheckpoint, keep: bool, engine: Engine
    ) -> GradientSpec:
        """Return the gradient spec of a checkpoint; a model in memory may change, so its spec is always made anew."""
        examples, config = plan.request.examples, plan.request.config
        key = (checkpoint, examples.fingerprint, config.compression.model_dump_json(), config.autocast)
        spec = self._specs.get((*key, True)) or self._specs.get((*key, keep))
        if spec is None or isinstance(checkpoint, LoadedCheckpoint):
            spec = self._specs[*key, keep] = make_gradient_spec(
                self.folder,
                checkpoint,
                examples,
                config.compression,
                autocast=config.autocast,
                keep=keep,
                engine=engine,
            )
        return spec
