"""How one recorded run ends without some images: LDS of the metagradient beside all methods, by recipe of the training.

whence bank build digits --examples 500 --config benchmarks/digits_metasmooth.toml --models 1 --subsets 0
    --development 0 --deterministic 24 --held-out-count 16 --drawn 16 --out BANK
python benchmarks/removals.py default digits WORK
python benchmarks/removals.py metasmooth BANK WORK --replay

The run is trained again with weight 0 for 1, 10 or 50% of the images: 24 subsets each. 8 held-out and 8 drawn queries
that are not for development; 32 draws, and 512 for the loss that the metagradient differentiates; dampings as the
leaderboard of the digits chose them on its development pool. With --replay the run is also replayed without each subset
of 1%, and the losses are measured at the 512 draws: so the draws are no part of the difference.
Intervals are over the subsets. Writes docs/figures/removals.json. About an hour on one core for each bank.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FOLDER, interval, write_figures

import whence
from whence.attribution.metagradient import open_replay_of
from whence.attribution.methods import METHODS
from whence.attribution.request import AttributionRequest
from whence.cli.show import progress
from whence.evaluation.bank.pool import REMOVED
from whence.evaluation.prediction.calibration import calibration
from whence.evaluation.prediction.ceiling import DETERMINISTIC
from whence.evaluation.prediction.lds import lds_table, predictions
from whence.evaluation.queries import Kind, query_places
from whence.seeds import derived_seed
from whence.statistics.correlations import Correlations, draw_resamples

QUERIES = 8
#: Held-out queries whose mean loss says how well a recipe trains; they are the same in both banks.
HELD_OUT = 16
#: Draws of the methods, and those of the loss of a query.
DRAWS, LOSS_DRAWS = 32, 512


def main() -> None:
    """Attribute the queries by all methods, measure and write."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("recipe", help="Name of the recipe in the figures.")
    given.add_argument("bank")
    given.add_argument("work", type=Path)
    given.add_argument("--replay", action="store_true", help="Replay the run without each subset of 1% too.")
    asked = given.parse_args()
    torch.set_num_threads(1)
    bank, file = whence.Bank.open(asked.bank), FOLDER / "removals.json"
    scores = attribute(bank, asked.work / asked.recipe)
    figures = json.loads(file.read_text("utf-8")) if file.exists() else {}
    figures[asked.recipe] = measure(bank, scores)
    if asked.replay:
        figures[asked.recipe]["1%, at the draws of the derivative"] = replayed(bank, scores["metagradient"])
    print(json.dumps(figures[asked.recipe], indent=1, default=float))
    write_figures("removals", figures)


def queries_of(bank: whence.Bank, kind: Kind) -> np.ndarray:
    """The places of the first queries of a kind that are not for development."""
    return query_places(bank, kind)[:QUERIES]


def attribute(bank: whence.Bank, work: Path) -> dict[str, whence.Scores]:
    """Scores of all queries by every method, and the metagradient."""
    ids = [bank.queries[q] for kind in Kind for q in queries_of(bank, kind)]
    rows = np.flatnonzero(np.isin(bank.queries, ids))
    queries = whence.Examples.of(bank.queries_data.select(rows))
    scores: dict[str, whence.Scores] = {}
    for names, draws in ((["metagradient"], LOSS_DRAWS), (list(methods()), DRAWS)):
        config = whence.AttributionConfig(draws=draws)
        with progress(f"{len(names)} methods") as report:
            engine = whence.Engine(report=report)
            scores |= whence.attribute(
                bank.models[0], bank.data, queries, names, config=config, store=work, engine=engine
            )
    return scores


def methods() -> Iterator[whence.Method]:
    """The gradient methods but k-fac, which ek-fac refines, at the dampings of the leaderboard of the digits."""
    chosen = json.loads((FOLDER / "leaderboard.json").read_text("utf-8"))["choices"]["rows"]
    for name, method in METHODS.items():
        if method.steps == "none" and name != "k-fac":
            yield replace(method, damping=chosen[name]["damping"]["value"]) if name in chosen else method


def measure(bank: whence.Bank, scores: Mapping[str, whence.Scores]) -> dict[str, Any]:
    """LDS by share of the images removed, kind of query and method, and how far the metagradient is from the truth."""
    held_out = np.flatnonzero(~bank.drawn)[:HELD_OUT]
    figures: dict[str, Any] = {"loss of held-out queries": float(bank.reference.losses[0, 0, held_out].mean())}
    for share in REMOVED:
        pool, part = bank.pool(DETERMINISTIC + share), dict[str, Any]()
        for kind in Kind:
            columns = queries_of(bank, kind)
            ids = [bank.queries[q] for q in columns]
            rows = {name: one.scores[[one.queries.index(id) for id in ids]].numpy() for name, one in scores.items()}
            table = lds_table(pool, columns, ids, {name: values.astype(float) for name, values in rows.items()})
            part[str(kind)] = {row.name: interval(row.lds.mean) for row in table.rows}
            part[f"slope, {kind}"] = slope(pool.kept, rows["metagradient"], pool.mean[:, columns])
        figures[share] = part
    return figures


def replayed(bank: whence.Bank, scores: whence.Scores) -> dict[str, Any]:
    """LDS and slope of the metagradient, with losses of the replayed run at the draws that it differentiates."""
    rows = np.flatnonzero(np.isin(bank.queries, scores.queries))
    queries, pool = whence.Examples.of(bank.queries_data.select(rows)), bank.pool(f"{DETERMINISTIC}1%")
    config = whence.AttributionConfig(draws=LOSS_DRAWS)
    request = AttributionRequest.of(bank.models[0], bank.data, queries, "metagradient", config)
    replay, losses = open_replay_of(request, whence.Engine())
    order = [bank.examples.index(name) for name in request.examples.ids]
    ends = (replay.end(replay.weights * torch.tensor(kept[order]).to(replay.weights)) for kept in pool.kept)
    measured = np.stack([losses.values(end.average).numpy() for end in ends])
    figures: dict[str, Any] = {}
    for kind in Kind:
        ids = [bank.queries[q] for q in queries_of(bank, kind)]
        columns = [queries.ids.index(name) for name in ids]
        values = scores.scores[[scores.queries.index(name) for name in ids]].numpy().astype(float)
        counts = draw_resamples(len(pool.kept), seed=derived_seed(0, f"resamples of {pool.name}"))
        lds = Correlations.measure(predictions(pool.kept, values), -measured[:, columns], counts)
        figures |= {str(kind): interval(lds.mean), f"slope, {kind}": slope(pool.kept, values, measured[:, columns])}
    return figures


def slope(kept: np.ndarray, scores: np.ndarray, losses: np.ndarray) -> float:
    """The slope of measured changes of losses against those predicted, of all queries together."""
    return calibration(predictions(~kept, scores.astype(float)), losses).slope.value


if __name__ == "__main__":
    main()
