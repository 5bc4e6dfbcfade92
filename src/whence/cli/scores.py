"""The scores that a command prints: the strongest proponents of the first pictures, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import whence
from whence.cli.show import say

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
