"""Scores that a command makes: what they cost, the strongest proponents that it prints, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import whence
from whence.cli.show import say

if TYPE_CHECKING:
    from whence.cost import Cost
    from whence.scores.top import TopScores

#: Pictures whose strongest proponents are told.
TOLD = 5


def show_scores(results: Mapping[str, whence.Scores], out: Path) -> None:
    """Print the strongest proponents of the first pictures by each method, also by unit, and what to do next."""
    grouped = False
    for name, scores in results.items():
        show_head(name, len(scores.queries), len(scores.examples))
        if scores.recall is not None:
            say(f"  {prefiltered(scores.recall)}")
        units = scores.by_unit()
        grouped = grouped or (units.examples != scores.examples and scores.recall is None)
        how = "sum" if scores.combine == "sum" else "largest score"
        for query in scores.queries[:TOLD]:
            say(f"  picture {query}: {listed(scores.top(query, 3))}")
            if units.examples != scores.examples:
                say(f"    by unit ({how} of its images): {listed(units.top(query, 3))}")
    say(f"Next: whence report {out}")
    if grouped:
        say(f"      whence credit compute {out} --out credit/   (the share of each unit, with intervals)")


def show_head(name: str, queries: int, examples: int) -> None:
    """Print what the scores of a method are of."""
    count = "1 query" if queries == 1 else f"{queries:,} queries"
    say(f"{name}: {count}, {examples:,} training images")


def prefiltered(recall: Mapping[str, Any]) -> str:
    """Return what a prefilter left out and lost, in words."""
    found = [
        f"{side} {recall[side]['value']:.2f} ({recall[side]['low']:.2f} to {recall[side]['high']:.2f})"
        for side in ("proponents", "opponents")
        if side in recall
    ]
    return (
        f"candidates of {recall['examples']:,} images; of those that score as high as a picture's {recall['top']}th "
        f"candidate they are: {', '.join(found)}, estimated from {recall['sample']:,} others"
    )


def listed(top: TopScores) -> str:
    """Return examples with their scores, and standard errors where there are any."""
    errors: Sequence[float | None] = top.errors or [None] * len(top)
    return ", ".join(
        f"{example} {value:.3g}" + ("" if error is None else f" ± {error:.2g}")
        for (example, value), error in zip(top, errors, strict=True)
    )


def planned_cost(
    planned: tuple[Any, ...], out: Path, store: Path | None, workers: int | None, top: int | None = None
) -> Cost:
    """Return the cost of a request of these arguments, after a check that the folder holds no other scores."""
    from whence.attribution.attribute_top import require_top
    from whence.attribution.attribution_cost import attribution_cost
    from whence.attribution.feature_plan import FeaturePlan
    from whence.attribution.feature_store import FeatureStore
    from whence.attribution.request import AttributionRequest
    from whence.attribution.scores_folder import ScoresFolder
    from whence.cost import Cost
    from whence.diffusion.encoding import FOLDER

    target, images, queries, methods, config, parameters = planned
    request = AttributionRequest.of(target, images, queries, methods, config, parameters, out / FOLDER)
    if top is not None:
        require_top(request, top)
    ScoresFolder(out, request).is_claimed()
    engine, features = whence.Engine(workers), FeatureStore(store or out / "features")
    costs = [method.plan(request, engine) for method in request.run_methods]
    if request.methods or not costs:
        costs.insert(0, attribution_cost(FeaturePlan.of(request), features, top=top, engine=engine))
    return reduce(Cost.then, costs)
