"""Scores that a command makes: what they cost, the strongest proponents that it prints, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import whence
from whence.cli.show import say

if TYPE_CHECKING:
    from whence.cost import Cost

#: Pictures whose strongest proponents are told.
TOLD = 5


def show_scores(results: Mapping[str, whence.Scores], out: Path) -> None:
    """Print the strongest proponents of the first pictures by each method, also by unit, and what to do next."""
    grouped = False
    for name, scores in results.items():
        queries = "1 query" if len(scores.queries) == 1 else f"{len(scores.queries):,} queries"
        say(f"{name}: {queries}, {len(scores.examples):,} training images")
        units = scores.by_unit()
        grouped = grouped or units.examples != scores.examples
        how = "sum" if scores.combine == "sum" else "largest score"
        for query in scores.queries[:TOLD]:
            say(f"  picture {query}: {_best(scores, query)}")
            if units.examples != scores.examples:
                say(f"    by unit ({how} of its images): {_best(units, query)}")
    say(f"Next: whence report {out}")
    if grouped:
        say(f"      whence credit compute {out} --out credit/   (the share of each unit, with intervals)")


def _best(scores: whence.Scores, query: str) -> str:
    """Return the three strongest proponents of a query, with their standard errors where there are any."""
    top = scores.top(query, 3)
    if scores.standard_error is None:
        return ", ".join(f"{example} {value:.3g}" for example, value in top)
    errors = scores.standard_error[scores.queries.index(query)]
    return ", ".join(
        f"{example} {value:.3g} ± {errors[scores.examples.index(example)].item():.2g}" for example, value in top
    )


def planned_cost(planned: tuple[Any, ...], out: Path, store: Path | None, workers: int | None) -> Cost:
    """Return the cost of a request of these arguments, after a check that the folder holds no other scores."""
    from whence.attribution.attribute import attribution_cost
    from whence.attribution.feature_plan import FeaturePlan
    from whence.attribution.feature_store import FeatureStore
    from whence.attribution.request import AttributionRequest
    from whence.attribution.scores_folder import ScoresFolder
    from whence.cost import Cost
    from whence.diffusion.encoding import FOLDER

    target, images, queries, methods, config, parameters = planned
    request = AttributionRequest.of(target, images, queries, methods, config, parameters, out / FOLDER)
    ScoresFolder(out, request).is_claimed()
    engine, features = whence.Engine(workers), FeatureStore(store or out / "features")
    costs = [method.plan(request, engine) for method in request.run_methods]
    if request.methods or not costs:
        costs.insert(0, attribution_cost(FeaturePlan.of(request), features, engine=engine))
    return reduce(Cost.then, costs)
