"""The published laws on digits, with the control that they lack.

Ensembles on 128 to 1,500 digits, the same budget per member; for each the landscapes of 16 pictures in 50 steps with
200 placebos, and the false attribution rate of pixel distance on 100 pictures. Writes docs/laws.md and docs/laws.png.

Published (ablation based counterfactuals, 23 ensembles): log radius against log N has slope -0.20 and correlation
-0.89, where the radius is the largest of N distances. With more units the largest of them is larger by itself, and
placebos change pictures too; so beside it stand the radius of equally many units and that of as many placebos.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import recipes
from figures import write_figures
from scipy.stats import linregress

import whence
from whence.cli.show import progress
from whence.engine import Engine
from whence.ensemble.influence import Influence
from whence.ensemble.landscape import geometric_mean
from whence.ensemble.make_landscape import landscape
from whence.ensemble.make_losses import losses
from whence.evaluation.false_attribution import false_attribution
from whence.similarity.attributors import attributor

mpl.use("Agg")
from matplotlib import pyplot as plt

SAMPLES, PICTURES, PLACEBOS = 16, 100, 200
PUBLISHED = {"slope": -0.20, "correlation": -0.89}


def main() -> None:
    """Measure, print and write."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("--out", type=Path, default=Path("docs"))
    out = given.parse_args().out
    rows = [measure(count) for count in recipes.SIZES]
    rates = {row["units"]: {"value": row["far"], "low": row["low"], "high": row["high"]} for row in rows}
    write_figures("laws", {str(row["units"]): row | {"far": rates[row["units"]]} for row in rows})
    text = table(rows)
    print(text)
    (out / "laws.md").write_text(text)
    plot(rows, out / "laws.png")


def measure(count: int) -> dict[str, Any]:
    """All figures of one size."""
    ensemble = recipes.law(count)
    with progress(f"pictures of {count}") as report:
        whence.sample(ensemble, count=PICTURES, engine=Engine(report=report))
    with progress(f"landscapes of {count}") as report:
        found = landscape(ensemble, f"0/0-{SAMPLES - 1}", placebos=PLACEBOS, engine=Engine(report=report))
    readings = [one.influence() for one in found]
    names = [f"0/{k}" for k in range(PICTURES)]
    with progress(f"false attribution of {count}") as report:
        rates = false_attribution(ensemble, names, attributor("pixel", ensemble.data), engine=Engine(report=report))
    interval = rates.interval
    return {
        "units": count,
        "radius": mean(readings, "radius"),
        "matched": mean(readings, "matched_radius"),
        "placebo": mean(readings, "placebo_radius"),
        "median": geometric_mean([float(one.effects.median()) for one in readings]),
        "placebo_median": geometric_mean([float(one.placebos.median()) for one in readings]),
        "above": sum(int((one.p_values <= one.level).sum()) for one in readings) / (SAMPLES * count),
        "whole": sum(one.overall_p_value <= one.level for one in readings),
        "fa": rates.fa,
        "control": rates.control,
        "far": rates.rate,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        **named_by_losses(ensemble),
    }


def named_by_losses(ensemble: whence.Ensemble) -> dict[str, Any]:
    """How many of the pictures have a unit that exact losses name, and how many of those units look like them."""
    samples = whence.sample(ensemble, count=PICTURES)
    with progress("losses") as report:
        found = losses(ensemble, samples.pictures, samples.names, engine=Engine(report=report))
    near = whence.pixel(samples.pictures, samples.names, ensemble.data).by_unit()
    readings = [found.influence_on(name) for name in samples.names]
    named = [(one.query, one.influential[0]) for one in readings if one.influential]
    alike = [[unit for unit, _ in near.top(query, 10)] for query, _ in named]
    return {
        "testable": readings[0].threshold is not None,
        "named": len(named),
        "most_alike": sum(unit == units[0] for (_, unit), units in zip(named, alike, strict=True)),
        "alike": sum(unit in units for (_, unit), units in zip(named, alike, strict=True)),
    }


def mean(readings: list[Influence], name: str) -> float:
    """Geometric mean of one figure over pictures."""
    return geometric_mean([getattr(one, name) for one in readings])


def law(rows: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """Slope and correlation of a figure's logarithm against that of N."""
    fit = linregress(np.log10([row["units"] for row in rows]), np.log10([row[name] for row in rows]))
    return float(fit.slope), float(fit.rvalue)


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "# The published laws, with a control",
        "",
        "`python benchmarks/laws.py` trains, draws and writes this page and its plot.",
        "",
        f"Geometric means over {SAMPLES} pictures, Euclidean distance of 8x8 pictures in [0, 1]; 16 members, 50 steps.",
        f"*Radius*: the largest distance of all N units, as published. *Of 200*: the largest of {PLACEBOS} units (N if",
        "fewer) and of as many placebos, which are drawn by as many members without leaving out anybody in particular.",
        "*Alone*: share of units above 95% of the placebos; 5% are by chance.",
        "",
        "| N | radius | of 200 units | of 200 placebos | median unit | median placebo | alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = [row[name] for name in ("radius", "matched", "placebo", "median", "placebo_median")]
        lines.append(f"| {row['units']} | " + " | ".join(f"{f:.3f}" for f in figures) + f" | {row['above']:.1%} |")
    names = {
        "radius": "radius",
        "matched": "of 200 units",
        "placebo": "of 200 placebos",
        "median": "median unit",
        "placebo_median": "median placebo",
    }
    lines += ["", "| log-log against N | slope | correlation |", "|---|---|---|"]
    lines += [f"| published radius, 23 ensembles | {PUBLISHED['slope']} | {PUBLISHED['correlation']} |"]
    for name, words in names.items():
        slope, correlation = law(rows, name)
        lines.append(f"| {words} | {slope:.2f} | {correlation:.2f} |")
    lines += [
        "",
        f"False attribution rate of pixel distance, {PICTURES} pictures, one control each (95% interval by a paired",
        "bootstrap):",
        "",
        "| N | stayed without it | stayed without another | rate |",
        "|---|---|---|---|",
    ]
    for row in rows:
        rate = "undefined" if row["far"] is None else f"{row['far']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        lines.append(f"| {row['units']} | {row['fa']:.2f} | {row['control']:.2f} | {rate} |")
    lines += [
        "",
        f"Units named by exact losses of the same {PICTURES} drawn pictures (family-wise error 5%: at most",
        f"{PICTURES * 0.05:.0f} expected if nobody mattered), and how many of these units are the one most like it by",
        "pixels, or among the ten most like it. With 16 members nobody can be named among more than 612 units.",
        "",
        "| N | pictures with a named unit | most alike | among the ten | among the ten by chance |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        told = [row["named"], row["most_alike"], row["alike"]] if row["testable"] else ["cannot be named", "-", "-"]
        by_chance = f"{row['named'] * 10 / row['units']:.1f}" if row["testable"] else "-"
        lines.append(f"| {row['units']} | " + " | ".join(map(str, told)) + f" | {by_chance} |")
    return "\n".join([*lines, "", "![Radius and false attribution rate against training set size](laws.png)", ""])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Radius and placebo radius, and the false attribution rate, against N."""
    counts = [row["units"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    styles = {
        "radius": ("o-", "radius, largest of N units"),
        "matched": ("s-", f"largest of {PLACEBOS} units"),
        "placebo": ("^--", f"largest of {PLACEBOS} placebos"),
        "placebo_median": (".:", "median placebo"),
    }
    for name, (style, label) in styles.items():
        slope, _ = law(rows, name)
        left.loglog(counts, [row[name] for row in rows], style, label=f"{label} (slope {slope:.2f})")
    left.set(xlabel="training images N, each a unit", ylabel="distance, geometric mean of 16 pictures")
    rates = [row["far"] for row in rows]
    errors = [
        [r - row["low"] for r, row in zip(rates, rows, strict=True)],
        [row["high"] - r for r, row in zip(rates, rows, strict=True)],
    ]
    right.errorbar(counts, rates, yerr=errors, fmt="o-", capsize=3)
    right.axhline(1, linestyle=":", color="grey")
    right.set(
        xscale="log", xlabel="training images N", ylabel="false attribution rate of pixel distance", ylim=(0, None)
    )
    for axis in (left, right):
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.minorticks_off()
    left.set_yticks([0.1, 0.2, 0.5, 1, 1.5], ["0.1", "0.2", "0.5", "1", "1.5"])
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
