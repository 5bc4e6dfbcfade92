"""Files of measured figures, which the pages of `docs/` quote; tests/docs/test_figures.py holds the pages to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence.statistics.statistic import Statistic

FOLDER = Path(__file__).parent.parent / "docs" / "figures"


def write_figures(name: str, figures: Mapping[str, Any]) -> None:
    """Write docs/figures/NAME.json. A figure is a number, or {"value": ..., "low": ..., "high": ...}."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(figures, indent=1, ensure_ascii=False, default=float)
    (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")


def interval(one: Statistic) -> dict[str, float]:
    """A statistic with its interval, as such files hold it."""
    return {"value": one.value, "low": one.interval.low, "high": one.interval.high}


def spread(values: list[float], middle: float) -> dict[str, float]:
    """The middle of some values with the smallest and the largest."""
    return {"value": middle, "low": min(values), "high": max(values)}
