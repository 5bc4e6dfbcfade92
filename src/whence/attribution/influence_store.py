"""The influence store: curvature of models, whole gradients of queries, and scores by both, in one folder.

FOLDER/MODEL/curvature/           eigenbases and eigenvalues; see `whence.gradients.make_curvature`
FOLDER/MODEL/queries-SET/         whole gradients of queries
FOLDER/MODEL/influence-REQUEST/   scores at some dampings; see `whence.attribution.make_influence`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from whence import artefacts
from whence.attribution.feature_folder import FeatureFolder
from whence.attribution.feature_plan import FeaturePlan, FeatureSet, Term
from whence.attribution.make_influence import KIND, SHARD, InfluenceJob, block_size, make_influence
from whence.attribution.method import Method
from whence.engine import DEFAULT, Engine, staged
from whence.errors import ArtefactError
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.make_curvature import CurvatureJob, make_curvature
from whence.gradients.make_features import FeatureJob, make_features
from whence.scores.jackknife import GROUPS
from whence.seeds import derived_seed


@dataclass(frozen=True)
class StoredInfluence:
    """Scores of one method for the queries of a term, in the order of their ids, at some dampings.

    Attributes:
        method: Name of the method.
        examples: Ids of the training examples, N.
        queries: Ids of the queries, Q.
        dampings: The dampings, C.
        path: Their artefact. Its files have scores float32 [C, 1 (+ 8), Q, n] of SHARD examples each, the last of
            fewer: from all draws, and without each group.
    """

    method: str
    examples: Sequence[str]
    queries: tuple[str, ...]
    dampings: tuple[float, ...]
    path: Path

    def at(self, damping: float, without: int | None, rows: range | None = None) -> Tensor:
        """Return scores float64 [Q, N] at a damping, from all draws or without those of a group; or of some rows."""
        rows = range(len(self.examples)) if rows is None else rows
        first, last = rows.start // SHARD, -(-rows.stop // SHARD)
        files = [artefacts.numbered_file(self.path, number) for number in range(first, last)]
        parts = [artefacts.read_tensors(file)[self.method] for file in files]
        if damping not in self.dampings or (without is not None and parts[0].shape[1] == 1):
            raise ArtefactError(
                f"There are no scores at damping {damping:g}{'' if without is None else ' with standard errors'}, only "
                f"at {', '.join(f'{c:g}' for c in self.dampings)}. Make a plan with this damping and extend the store."
            )
        place = self.dampings.index(damping), 0 if without is None else 1 + without
        start = first * SHARD
        return torch.cat([part[place] for part in parts], -1)[:, rows.start - start : rows.stop - start].double()


@dataclass(frozen=True)
class InfluenceStore:
    """Curvature, whole gradients of queries, and scores of methods with curvature.

    Attributes:
        folder: Where gradients without compression are.
    """

    folder: FeatureFolder

    def extend(self, plan: FeaturePlan, *, shorten: bool = False, engine: Engine = DEFAULT) -> None:
        """Make the scores of a plan of methods with curvature, and all that they need, unless they are there.

        The arguments and errors are those of `FeatureStore.extend`.
        """
        terms = plan.distinct_terms
        whole = [self._whole(plan, term.examples, keep=True, engine=engine) for term in terms]
        for term in terms:
            for feature_set in (term.examples, term.queries):
                feature_set.examples.write(self.folder.path_of(feature_set.examples))
        curvatures = [curvature_job(plan, job) for job in whole]
        engines = staged(engine, self._sizes(plan))
        for curvature in curvatures:
            make_curvature(curvature, engine=next(engines))
        for term in terms:
            job = self.job(plan, term)
            if shorten:
                job.queries.shorten()
            make_features([job.queries], engine=next(engines))
            make_influence(job, engine=next(engines))

    def rows(self, plan: FeaturePlan) -> int:
        """Return the number of draws of examples that a plan takes, if nothing of it is there."""
        return sum(self._sizes(plan))

    def _sizes(self, plan: FeaturePlan) -> list[int]:
        """Return the draws of every curvature, and of the queries and examples of every term."""
        terms = plan.distinct_terms
        sets = [part for term in terms for part in (term.queries, term.examples)]
        curvatures = [2 * plan.request.config.curvature_rows] * len(terms)
        return [*curvatures, *(len(part.examples) * part.draws for part in sets)]

    def jobs(self, plan: FeaturePlan, *, engine: Engine = DEFAULT) -> dict[FeatureSet, FeatureJob]:
        """Return the jobs of all gradients: kept of the queries; not kept for the curvature and of the examples."""
        jobs: dict[FeatureSet, FeatureJob] = {}
        for term in plan.distinct_terms:
            queries, examples = (self._whole(plan, part, engine=engine) for part in (term.queries, term.examples))
            jobs |= {term.queries: queries, term.examples: replace(examples, kept=False)}
            curvature = _curvature_set(plan, term)
            jobs[curvature] = replace(examples, draws=curvature.draws, kept=False)
        return jobs

    def missing(self, plan: FeaturePlan, *, engine: Engine = DEFAULT) -> dict[FeatureSet, FeatureJob]:
        """Return the jobs of gradients that are still to be taken."""
        jobs = self.jobs(plan, engine=engine)
        for term in plan.distinct_terms:
            job = self.job(plan, term, engine)
            done = {_curvature_set(plan, term): job.curvature.is_made, term.examples: job.is_made}
            done[term.queries] = not job.queries.missing()
            for feature_set in [feature_set for feature_set, is_done in done.items() if is_done]:
                del jobs[feature_set]
        return jobs

    def scores(self, plan: FeaturePlan, term: Term, method: Method) -> StoredInfluence:
        """Return scores of a plan that are there."""
        job = self.job(plan, term)
        artefacts.read_verified(job.path, KIND)
        ids, queries = artefacts.TextColumn(job.path / "examples.parquet", "id"), term.queries.examples.sorted().ids
        return StoredInfluence(method.name, ids, queries, job.dampings[method], job.path)

    def job(self, plan: FeaturePlan, term: Term, engine: Engine = DEFAULT) -> InfluenceJob:
        """Return the job of the scores of a term by all methods that have it."""
        examples, queries = (self._whole(plan, part, engine=engine) for part in (term.examples, term.queries))
        return InfluenceJob(
            folder=queries.path.parent,
            curvature=curvature_job(plan, examples),
            examples=examples,
            queries=queries,
            dampings={method: plan.dampings_of(method) for method, terms in plan.terms.items() if term in terms},
            errors=plan.dampings is None,
        )

    def _whole(
        self, plan: FeaturePlan, part: FeatureSet, *, keep: bool = False, engine: Engine = DEFAULT
    ) -> FeatureJob:
        """Return the job of whole gradients, in batches of fewer rows where the network is large."""
        job = self.folder.job(plan, part, plan.kinds[part], keep, engine)
        return replace(job, batch=min(job.batch, GROUPS * block_size(job.spec.size)))


def _curvature_set(plan: FeaturePlan, term: Term) -> FeatureSet:
    """Return a set with as many draws as the curvature of the model of a term takes in both stages together."""
    draws = -(-2 * plan.request.config.curvature_rows // len(plan.request.examples))
    return replace(term.examples, name="curvature", draws=draws)


def curvature_job(plan: FeaturePlan, job: FeatureJob) -> CurvatureJob:
    """Return the job of the curvature of the model of whole gradients, on the training examples of a plan."""
    request = plan.request

    def draws(purpose: str) -> OwnDraws:
        seed = derived_seed(request.config.seed, purpose)
        return OwnDraws(request.target.model.process.draws(seed), request.config.latents == "sample")

    return CurvatureJob(
        path=job.path.parent / "curvature",
        spec=job.spec,
        examples=job.examples.parent / request.examples.fingerprint[:12],
        fingerprint=request.examples.fingerprint,
        draws={stage: draws(stage) for stage in ("factors", "eigenvalues")},
        rows=request.config.curvature_rows,
        seed=request.config.seed,
        batch=job.batch,
    )
