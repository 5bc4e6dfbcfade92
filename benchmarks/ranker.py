"""How well a ranker stands in for its teacher: agreement, LDS on the bank of the digits, and the time of a query.

python benchmarks/ranker.py --out runs/ranker

The teachers attribute pictures that the first model of the bank draws from a seed that no query of the bank has. The
ranker is distilled from these and ranks the bank's queries that are not for development. Beside it: the teacher itself,
likeness of pixels and random scores. Intervals of agreements are over queries, those of the LDS over subsets. A time is
the median of one query after another, with one thread; of the teacher it is that of attributing some more queries.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import interval, write_figures

import whence
from whence.engine import Engine, one_thread
from whence.evaluation.prediction.lds import bank_lds
from whence.scores.stored import StoredScores, read_scores
from whence.similarity.make_ranker import milliseconds
from whence.statistics.ranks import agreement
from whence.statistics.statistic import mean_of

TEACHERS, QUERIES, SEED = ("tangent-squared",), (250, 1000), 5
#: Draws of the teachers; further queries whose time is taken.
DRAWS, TIMED = 32, 16


def main() -> None:
    """Attribute, distil, measure, print and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    out = arguments.parse_args().out
    bank, config = whence.Bank.open("digits"), whence.AttributionConfig(draws=DRAWS)
    common: dict[str, Any] = {"config": config, "store": out / "features", "engine": Engine(1)}
    queries = bank.attribution_queries()
    model, data = bank.models[0], bank.data
    whence.attribute(model, data, queries, [*TEACHERS, "pixel"], out=out / "bank", **common)
    figures: dict[str, Any] = {"draws": DRAWS, "training images": len(data)}
    for count in QUERIES:
        source = out / f"teacher-{count}"
        whence.attribute(model, data, f"sample:{count}@{SEED}", list(TEACHERS), out=source, **common)
        for teacher in TEACHERS:
            ranker = out / f"ranker-{teacher}-{count}"
            whence.distil(source / teacher, data, ranker)
            ranked = f"ranker:{ranker}"
            folder = out / f"ranked-{teacher}-{count}"
            whence.attribute(model, data, queries, ranked, out=folder, **common)
            figures[f"{teacher}, {count}"] = measure(bank, out / "bank", teacher, folder)
    figures["milliseconds"] = milliseconds(whence.Ranker.read(ranker, data), data.images(range(51)))
    start = time.perf_counter()
    whence.attribute(model, data, f"sample:{TIMED}@6", TEACHERS[0], **common)
    figures["milliseconds of the teacher"] = 1000 * (time.perf_counter() - start) / TIMED
    write_figures("ranker", figures)
    print(figures)


def measure(bank: whence.Bank, given: Path, teacher: str, ranked: Path) -> dict[str, Any]:
    """Agreement of a ranker with its teacher, and LDS of both, of pixels and of random scores, by kind of query."""
    stored = read_scores([given / teacher, given / "pixel", ranked])
    by_name = {"teacher": stored[0], "pixel": stored[1], "ranker": stored[2]}
    figures: dict[str, Any] = {}
    for kind, table in bank_lds(bank, stored).items():
        truth = _rows(by_name["teacher"], table.queries)
        part: dict[str, Any] = {}
        for name in ("ranker", "pixel"):
            both = agreement(table.queries, _rows(by_name[name], table.queries), truth)
            part[f"{name}, correlation"] = interval(mean_of(both.correlations, 0.0))
            part[f"{name}, top 10"] = interval(mean_of(both.recalls, both.chance))
        names = {one.name: name for name, one in by_name.items()}
        for row in table.rows:
            part[f"{names.get(row.name, row.name)}, LDS"] = interval(row.lds.mean)
        figures[str(kind)] = part
    return figures


def _rows(stored: StoredScores, queries: Sequence[str]) -> np.ndarray:
    """The scores of some queries, [Q, N]."""
    return stored.scores.scores[[stored.scores.queries.index(name) for name in queries]].double().numpy()


if __name__ == "__main__":
    with one_thread():
        main()
