"""Do spoiled training images stand out? 500 pictures of `styles`: 20 have a wrong caption, 20 are of another world.

python benchmarks/audit_data.py --out runs/audit

For each number of `whence audit data` the area under the ROC curve: how often a spoiled image is above one that is not.
Intervals are a bootstrap over images. A second table: the spoiled ones among the 20 largest.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from audit_models import spoiled, train
from figures import interval, write_figures

import whence
from whence.engine import Engine, one_thread
from whence.evaluation.ranking.retrieval import outliers

DRAWS = 32


def main() -> None:
    """Train, audit, print a table and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    data, kinds = spoiled()
    run = train("spoiled", given.out)
    audit = whence.audit_data(run, data, given.out / "audit-data", draws=DRAWS, engine=Engine(1))
    figures: dict[str, Any] = {"images": len(data), "spoiled": int(kinds["wrong"].sum()), "draws": DRAWS}
    for kind, mask in kinds.items():
        own = mask | ~(kinds["wrong"] | kinds["foreign"])  # the other kind is left out
        figures[kind] = {}
        for column in audit.columns:
            found = outliers(audit.values(column.name)[own], mask[own])
            among = int(np.isin(np.flatnonzero(mask), audit.worst(column.name, int(mask.sum()))).sum())
            figures[kind][column.name] = {
                "area": interval(found.area),
                "recall": interval(found.recall),
                "among": among,
            }
            area = found.area.interval
            print(f"| {kind} | {column.name} | {found.area.value:.2f} ({area.low:.2f} to {area.high:.2f}) | {among} |")
    write_figures("audit-data", figures)


if __name__ == "__main__":
    with one_thread():
        main()
