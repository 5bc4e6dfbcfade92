"""The sources of `whence credit compute`: scores, the run of an adapter, an ensemble, and another run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import whence
from whence.cli.credit_options import CreditOptions
from whence.cli.data import load_beside
from whence.cli.show import progress, say, show_cost, show_notes, show_work
from whence.cost import Cost, peak_memory
from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.credit.estimators import Estimator

#: Contributors that are shown of each behaviour, and behaviours.
CONTRIBUTORS, BEHAVIOURS = 3, 12
#: The method whose scores an adapter's shares are of: they are shares of the output. And their folder in OUT.
METHOD, SCORES = "tangent", "scores"
#: A remainder below this is rounding.
ROUNDING = 1e-9


def compute_from_scores(options: CreditOptions, plan: bool) -> None:
    """Compute the sums of the scores of every method that adds up."""
    from whence.credit.score_credit import score_credits

    data = options.load() if options.data else None
    if data is None:
        say(f"Contributors as {options.source} was made with.")
    if plan:
        count = len(score_credits(options.source, data)[0])
        return show_cost(
            Cost(0.0, peak_memory(), 0, f"the sums of the scores of {count:,} methods; no model is made"), options.out
        )
    _share_scores(options.source, options.out, data)


def compute_from_adapter(options: CreditOptions, draws: int, base: Path | None, plan: bool) -> None:
    """Compute the sums of the scores of `tangent`, on pictures that are drawn from prompts."""
    from whence.attribution.attribution_cost import attribution_cost
    from whence.attribution.feature_plan import FeaturePlan
    from whence.attribution.feature_store import FeatureStore
    from whence.attribution.request import AttributionRequest
    from whence.attribution.target import Target
    from whence.attribution.training_examples import training_examples
    from whence.diffusion.encoding import FOLDER

    target, data = Target.open(options.source, base=base), options.load()
    target.require_data(data)
    queries, scores = options.read_queries(target), options.out / SCORES
    config, engine = whence.AttributionConfig(draws=draws), whence.Engine(options.workers)
    show_notes(training_examples(target, data, scores / FOLDER, None).notes, of="the training images")
    if plan:
        request = AttributionRequest.of(target, data, queries, [METHOD], config, None, scores / FOLDER)
        features = FeatureStore(scores / "features")
        return show_cost(attribution_cost(FeaturePlan.of(request), features, engine=engine), options.out)
    with progress("gradients") as report, progress("scores") as scored:
        engine = engine.reporting(report)
        whence.attribute(target, data, queries, [METHOD], config=config, out=scores, scored=scored, engine=engine)
    _share_scores(scores, options.out, data)


def _share_scores(source: Path, out: Path, data: whence.Dataset | None) -> None:
    """Write the sums of scores, and print them."""
    from whence.credit.score_credit import write_score_credit

    credits, reasons = write_score_credit(source, out, data)
    for method, reason in reasons.items():
        say(f"Left out {method}: {reason}")
    for credit, path in credits:
        show_credit(credit, path)
    say(f"Next: whence report {out}")


def compute_from_ensemble(options: CreditOptions, draws: int, plan: bool) -> None:
    """Compute the exact losses without each contributor."""
    from whence.attribution.target import Target
    from whence.credit.ensemble_credit import survivors_of
    from whence.credit.leftovers import write_beside
    from whence.credit.stored_credit import write_credit
    from whence.ensemble.drawing_cost import losses_cost

    ensemble = whence.Ensemble.open(options.source)
    target = Target.open(ensemble)
    if options.data:
        data = options.load()
        target.require_data(data)
        contributors = whence.Contributors.of_data(data)
    else:
        data = ensemble.data
        contributors = whence.Contributors.of_source(options.source, data.ids, data.units)
    if options.queries is None:
        raise ConfigError("Exact losses are of pictures: name them with --queries, such as sample:16 or 0/3.")
    queries = options.read_queries(target)
    survivors_of(ensemble, contributors)
    if plan:
        engine = whence.Engine(options.workers)
        return show_cost(losses_cost(ensemble, len(queries.ids), draws, engine=engine), options.out)
    with show_work("exact losses", options.workers) as engine:
        credit = whence.credit_of_ensemble(ensemble, contributors, queries, draws=draws, engine=engine)
    write_beside(data, options.out / "data")
    inputs = {"ensemble": target.fingerprint, "queries": list(queries.ids)}
    show_credit(credit, write_credit(credit, options.out, inputs, {}))
    say(f"Next: whence report {options.out}")


def compute_from_run(
    options: CreditOptions,
    settings: whence.StudyConfig,
    sampling: whence.CoalitionSampling,
    *,
    behaviours: Sequence[str],
    estimators: Sequence[str],
    held_out: str | None,
    base: Path | None,
    clusters: str | None,
    config: Path | None,
    plan: bool,
) -> None:
    """Compute shares from the values of coalitions, by models that are made for them."""
    from whence.attribution.target import Target
    from whence.credit.stored_credit import write_credit
    from whence.credit.study_credit import request_of, require_measurable

    target, requested = Target.open(options.source), [whence.behaviour(name) for name in behaviours]
    data = options.load()
    target.require_data(data)
    contributors = whence.Contributors.of_data(data)
    methods = [_estimator(name, data, contributors, options, clusters) for name in estimators]
    unseen = load_beside(held_out, **options.size) if held_out else None
    queries = options.read_queries(target) if options.queries else None
    if queries and queries.origin:
        settings = settings.model_copy(update={"sampler": queries.origin.sampler})
    else:
        drawing = {name: options.drawing[name] for name in ("method", "steps") if options.drawing[name] is not None}
        steps = min(settings.sampler.steps, target.model.process.timesteps)
        sampler = settings.sampler.model_copy(update={"steps": steps, **drawing})
        settings = settings.model_copy(update={"sampler": sampler})
    require_measurable(requested, options.source, data, settings, unseen, queries)
    study_of = (options.source, data, _run_settings(options.source, config), settings, unseen, queries)
    if plan:
        return _show_plan(options, study_of, contributors, methods, sampling)
    study = whence.Study.begin(options.out, *study_of)
    for method in methods:
        with show_work(method.name, options.workers) as engine:
            credit, game = whence.credit_of_study(
                study, contributors, requested, method, sampling, base=base, engine=engine
            )
        made = request_of(contributors, requested, sampling)
        show_credit(credit, write_credit(credit, options.out, study.inputs, made, game))
    say(f"Next: whence report {options.out}")


def _run_settings(source: Path, config: Path | None) -> whence.Config:
    """The settings of a run: those of a file, else those that the run recorded, else the defaults."""
    recorded = source / "config.toml"
    return whence.read_config(config or (recorded if recorded.exists() else None))


def _show_plan(
    options: CreditOptions,
    study_of: tuple[Any, ...],
    contributors: whence.Contributors,
    methods: Sequence[Estimator],
    sampling: whence.CoalitionSampling,
) -> None:
    """Print the cost of each estimator; a study that was not begun yet is begun in a temporary folder."""
    from tempfile import TemporaryDirectory

    from whence.credit.make_game import credit_cost

    with TemporaryDirectory() as scratch:
        study = whence.Study.begin(options.out if (options.out / "request").exists() else Path(scratch), *study_of)
        engine = whence.Engine(options.workers)
        for method in methods:
            say(f"{method.title}:")
            show_cost(credit_cost(study, contributors, method, sampling, engine=engine), options.out)


def _estimator(
    name: str, data: whence.Dataset, contributors: whence.Contributors, options: CreditOptions, column: str | None
) -> Estimator:
    """The estimator of a name; of Owen values, over the clusters of a column or of near-duplicates."""
    from whence.credit.estimators import owen
    from whence.credit.near_duplicates import link_contributors, near_duplicate_clusters

    if name not in whence.ESTIMATORS:
        raise ConfigError(f"There is no estimator {name!r}; there are {', '.join(whence.ESTIMATORS)}.")
    if name != "owen":
        return whence.ESTIMATORS[name]
    if column is None:
        labels = link_contributors(near_duplicate_clusters(data, contributors), contributors)
    else:
        labels = contributors.clusters(options.load(column))
    say(f"Owen values over {len(set(labels))} clusters of {len(contributors)} contributors.")
    return owen(len(contributors), labels)


def show_credit(credit: whence.Credit, path: Path) -> None:
    """Print the largest shares of each behaviour, the remainder, and where all shares are."""
    import numpy as np

    low, high = credit.low, credit.high
    say(f"{credit.estimator}: {len(credit.units)} contributors")
    for b, one in enumerate(credit.explained[:BEHAVIOURS]):
        parts = []
        for u in np.argsort(-credit.shares[b], kind="stable")[:CONTRIBUTORS]:
            interval = "" if low is None or high is None else f" ({low[b, u]:.3g} to {high[b, u]:.3g})"
            parts.append(f"{credit.units[u]} {credit.shares[b, u]:.3g}{interval}")
        say(f"  {one.name}: v(none) {one.none:.4g}, v(all) {one.all:.4g}: {'; '.join(parts)}")
        remainder = credit.remainder[b]
        known = f"{remainder if abs(remainder) > ROUNDING else 0:.3g}"
        unknown = "not known, v(none) was not measured"
        say(f"    nobody's in particular: {unknown if np.isnan(remainder) else known}")
    if low is None:
        say(f"  No intervals are known: {credit.how.get('interval', 'nothing was repeated')}")
    if len(credit.explained) > BEHAVIOURS:
        say(f"  ... and {len(credit.explained) - BEHAVIOURS} more")
    say(f"  {path / 'shares.csv'}")
