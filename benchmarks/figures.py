"""Files of measured figures, which the pages of `docs/` quote; tests/docs/test_figures.py holds the pages to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

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


def share(hits: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """The share of hits with its interval (95%, Wilson), and their number."""
    interval = binomtest(int(np.sum(hits)), len(hits)).proportion_ci(method="wilson")
    return {"value": float(np.mean(hits)), "low": interval.low, "high": interval.high, "count": len(hits)}
