"""What the ridge of training gives, against fixed dampings: python benchmarks/damping.py BANK --out WORK --draws 64.

Scores of the first model of a bank by tangent and tangent-squared, at the ridge of its training (auto) and at fixed
dampings. The fixed damping of the largest LDS on the pool development, on queries for development, is beside auto on
the pool test, on the queries that are reported; so is the method's own damping. The figures go into
docs/figures/damping.json under the name of the bank.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from figures import FOLDER, interval, write_figures

from whence.attribution.compute_scores import compute_scores
from whence.attribution.feature_plan import FeaturePlan
from whence.attribution.feature_store import FeatureStore
from whence.attribution.methods import METHODS
from whence.attribution.request import AttributionConfig, AttributionRequest
from whence.attribution.target import Target
from whence.attribution.training_ridge import AUTO
from whence.cli.show import progress
from whence.engine import Engine
from whence.evaluation.bank import Bank
from whence.evaluation.prediction.ceiling import noise_pool
from whence.evaluation.prediction.lds import LdsTable, lds_table
from whence.evaluation.queries import Kind, Use, query_places
from whence.scores.scores import Scores

NAMES = ("tangent", "tangent-squared")
DAMPINGS = (0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0)


def main() -> None:
    """Measure, print and write."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("bank")
    arguments.add_argument("--out", type=Path, required=True, help="a folder for features")
    arguments.add_argument("--draws", type=int, default=64)
    given = arguments.parse_args()
    bank = Bank.open(given.bank)
    scores = all_scores(bank, given.out, given.draws)
    figures: dict[str, Any] = {"draws": given.draws}
    for name in NAMES:
        figures[name] = {str(kind): row(bank, scores[name], kind, METHODS[name].damping) for kind in Kind}
        print(name, json.dumps(figures[name], indent=1))
    file = FOLDER / "damping.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    write_figures("damping", {**known, Path(given.bank).name: figures})


def all_scores(bank: Bank, store: Path, draws: int) -> dict[str, dict[str, Scores]]:
    """Scores by name of the method and damping."""
    target, methods = Target.open(bank.models[0]), [METHODS[name] for name in NAMES]
    scores: dict[str, dict[str, Scores]] = {}
    for damping in (None, AUTO):
        config = AttributionConfig(draws=draws, damping=damping)
        request = AttributionRequest.of(target, bank.data, bank.attribution_queries(None), methods, config)
        plan, features = FeaturePlan.of(request), FeatureStore(store)
        with progress("features") as report:
            features.extend(plan, engine=Engine(1, report))
        if damping == AUTO:
            for name, one in compute_scores(plan, features, errors=False).items():
                scores[name][AUTO] = one
        else:
            for name, by_damping in compute_scores(plan, features, errors=False, dampings=DAMPINGS).items():
                scores[name] = {f"{c:g}": one for c, one in by_damping.items()}
    return scores


def row(bank: Bank, scores: dict[str, Scores], kind: Kind, own: float) -> dict[str, Any]:
    """LDS of auto, of the damping that development chooses, and of the method's own, on one kind of query."""
    development = lds(bank, "development", Use.DEVELOPMENT, scores, kind)
    best = max((row for row in development.rows if row.name in scores and row.name != AUTO), key=lds_of).name
    test = {row.name: row for row in lds(bank, "test", Use.REPORTED, scores, kind).rows}
    return {
        "auto": interval(test[AUTO].lds.mean),
        "best": interval(test[best].lds.mean),
        "best damping": float(best),
        "own": interval(test[f"{own:g}"].lds.mean),
        "random": interval(test["random"].lds.mean),
        "development": {row.name: lds_of(row) for row in development.rows},
    }


def lds_of(row: Any) -> float:
    """The mean LDS of a row."""
    return float(row.lds.mean.value)


def lds(bank: Bank, pool: str, use: Use, scores: dict[str, Scores], kind: Kind) -> LdsTable:
    """The table of all dampings on a pool."""
    places = query_places(bank, kind, use=use)
    names = [bank.queries[place] for place in places]
    first = next(iter(scores.values()))
    rows = [first.queries.index(name) for name in names]
    columns = [first.examples.index(name) for name in bank.examples]
    methods = {name: np.asarray(one.scores, np.float64)[rows][:, columns] for name, one in scores.items()}
    return lds_table(bank.pool(pool), places, names, methods, noise=noise_pool(bank.pools, pool))


if __name__ == "__main__":
    main()
