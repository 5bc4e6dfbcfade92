"""How many training pictures are found at 1% of false alarms? One by one, and twenty of a contributor together.

python benchmarks/audit_membership.py --out runs/audit

Digits: a network on 500 digits; controls are the 1,000 other ones of `train` and the 297 of `test`. A contributor of
`digits` here is twenty training images at random, because its contributors have other numbers of images.
Styles: an adapter on the pictures of twelve contributors; controls are held-out pictures by the same hands. Six: an
adapter on six of them; controls are pictures of the other six, and held-out pictures of the six are asked about too.
Ensemble: twelve adapters on the same six, also by code words of nobody without controls. Intervals are exact (Clopper &
Pearson).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from audit_models import digits, train
from figures import write_figures

import whence
from whence.audit.membership_test import MembershipTest, group_chances
from whence.engine import one_thread
from whence.statistics.statistic import Statistic, share

LEVEL, SIZE, STRANGERS = 0.01, 20, 200
#: Draws of each picture; of an ensemble each is one of every member.
DRAWS = {"digits": 16, "styles": 16, "six": 16, "ensemble": 8}


def main() -> None:
    """Train, audit, print a table and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--only", choices=tuple(DRAWS), nargs="+", default=list(DRAWS))
    given = arguments.parse_args()
    figures = {name: measure(name, given.out) for name in given.only}
    if len(figures) == len(DRAWS):
        write_figures("audit-membership", figures)


def measure(name: str, out: Path) -> dict[str, Any]:
    """The figures of one model."""
    run = train(name, out)
    seen, controls, same = digit_pictures() if name == "digits" else style_pictures(name)
    groups = np.array_split(np.random.default_rng(0).permutation(len(seen)), len(seen) // SIZE)
    if name != "digits":
        groups = [seen.examples_of(unit) for unit in seen.unit_ids]
    every = controls if same is None else joined(controls, same)
    audit = whence.audit_membership(run, seen, every, out / f"audit-{name}", draws=DRAWS[name])
    statistics, of_others = (np.array(one["statistic"]) for one in (audit.pictures, audit.controls))
    test = MembershipTest.of(statistics, of_others[: len(controls)], level=LEVEL)
    figures = {"images": len(seen), "draws": DRAWS[name], **of_test(test, groups)}
    if same is not None:
        of_same = MembershipTest(of_others[len(controls) :], test.first, test.second, LEVEL)
        figures["same hands"] = figure(share(of_same.chances <= LEVEL)) | {"pictures": len(same)}
    if audit.placebos is not None:
        figures["placebos"] = figure(share(audit.placebos.each <= LEVEL)) | {"smallest": audit.placebos.smallest}
        strangers = controls.select(np.sort(np.random.default_rng(0).permutation(len(controls))[:STRANGERS]))
        of_strangers = whence.audit_membership(run, strangers, None, out / "audit-strangers", draws=DRAWS[name])
        figures["placebos, strangers"] = figure(share(of_strangers.placebos.each <= LEVEL)) | {"pictures": STRANGERS}
    print(name, {key: show(value) for key, value in figures.items()}, flush=True)
    return figures


def digit_pictures() -> tuple[whence.Dataset, whence.Dataset, None]:
    """Training digits, and all others."""
    seen, others = digits()
    return seen, joined(others, whence.load("digits:test")), None


def style_pictures(name: str) -> tuple[whence.Dataset, whence.Dataset, whence.Dataset | None]:
    """Twenty training pictures of each contributor; controls; and held-out pictures of six contributors."""
    data, held = (whence.load(split, unit_column="contributor") for split in ("styles", "styles:test"))
    trained = data.unit_ids if name == "styles" else tuple(f"style {number}" for number in range(1, 7))
    own, same = (np.array([units[0] in trained for units in part.units]) for part in (data, held))
    seen = data.select(np.sort(np.concatenate([data.examples_of(unit)[:SIZE] for unit in trained])))
    if name == "styles":
        return seen, held, None
    return seen, joined(data.select(~own), held.select(~same)), held.select(same)


def of_test(test: MembershipTest, groups: list[np.ndarray]) -> dict[str, Any]:
    """Shares of training pictures and of groups of them that raise an alarm, and of controls of the second half."""
    found = group_chances(test.statistics[np.stack(groups)], test.first) <= LEVEL
    first = MembershipTest(test.statistics[groups[0]], test.first, test.second, LEVEL)
    alarms = first.group_alarms
    return {
        "controls": len(test.first) + len(test.second),
        "one": figure(share(test.chances <= LEVEL)),
        "alarms": figure(test.alarms),
        "group": figure(share(found)) | {"groups": len(groups)},
        "group alarms": None if alarms is None else figure(alarms) | {"groups": len(test.second) // SIZE},
    }


def joined(*parts: whence.Dataset) -> whence.Dataset:
    """Several data sets as one."""
    names = ("ids", "units", "captions")
    fields = {name: tuple(value for part in parts for value in getattr(part, name)) for name in names}
    return whence.Dataset(pixels=np.concatenate([part.pixels for part in parts]), **fields)


def figure(found: Statistic) -> dict[str, float]:
    """A share with its interval."""
    return {"value": found.value, "low": found.interval.low, "high": found.interval.high}


def show(value: Any) -> str:
    """A figure in short."""
    return (
        f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})" if isinstance(value, dict) else str(value)
    )


if __name__ == "__main__":
    with one_thread():
        main()
