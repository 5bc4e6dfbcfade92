"""How many training pictures are found at 1% of false alarms? One by one, and twenty of a contributor together.

python benchmarks/audit_membership.py --out runs/audit

Digits: a network on 500 digits; controls are the 1,000 other ones of `train` and the 297 of `test`. A contributor of
`digits` here is twenty training images at random, because its contributors have other numbers of images.
Styles: an adapter on the pictures of six contributors. Controls are pictures of the other six, who are strangers to it,
or held-out pictures of the same six. Ensemble: twelve adapters on the same pictures, with the same controls, and by
code words of nobody without controls. Intervals are exact (Clopper & Pearson).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from audit_models import digits, train
from figures import write_figures

import whence
from whence.audit.membership_test import MembershipTest, group_chance
from whence.engine import one_thread
from whence.statistics.statistic import Statistic, share

LEVEL, SIZE = 0.01, 20
#: Draws of each picture; of an ensemble each is one of every member.
DRAWS = {"digits": 16, "six": 16, "ensemble": 8}


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
    if name == "digits":
        seen, others = digits()
        controls = {"other digits": joined(others, whence.load("digits:test"))}
        groups = np.array_split(np.random.default_rng(0).permutation(len(seen)), len(seen) // SIZE)
    else:
        everybody = whence.load("styles", unit_column="contributor")
        six = {f"style {number}" for number in range(1, 7)}
        trained = np.array([units[0] in six for units in everybody.units])
        seen, strangers = everybody.select(trained), everybody.select(~trained)
        held = whence.load("styles:test", unit_column="contributor")
        known = np.array([units[0] in six for units in held.units])
        same, strangers = held.select(known), joined(strangers, held.select(~known))
        controls = {"other contributors": strangers, "the same contributors": same}
        seen = seen.select(np.sort(np.concatenate([seen.examples_of(unit)[:SIZE] for unit in seen.unit_ids])))
        groups = [seen.examples_of(unit) for unit in seen.unit_ids]
    figures: dict[str, Any] = {"images": len(seen), "draws": DRAWS[name]}
    every = joined(*controls.values())
    audit = whence.audit_membership(run, seen, every, out / f"audit-{name}", draws=DRAWS[name])
    statistics, of_controls = (np.array(one["statistic"]) for one in (audit.pictures, audit.controls))
    place = {id: n for n, id in enumerate(audit.controls["id"])}
    for kind, data in controls.items():
        test = MembershipTest.of(statistics, of_controls[[place[id] for id in data.ids]], level=LEVEL)
        figures[kind] = of_test(test, groups)
    if audit.placebos is not None:
        figures["placebos"] = {"one": figure(share(audit.placebos.each <= LEVEL)), "smallest": audit.placebos.smallest}
    for kind in [*controls, *(["placebos"] if audit.placebos else [])]:
        print(name, kind, {key: show(value) for key, value in figures[kind].items()}, flush=True)
    return figures


def of_test(test: MembershipTest, groups: list[np.ndarray]) -> dict[str, Any]:
    """Shares of training pictures and of groups of them that raise an alarm, and of controls of the second half."""
    found = [group_chance(test.statistics[rows], test.first) <= LEVEL for rows in groups]
    first = MembershipTest(test.statistics[groups[0]], test.first, test.second, LEVEL)
    alarms = first.group_alarms
    return {
        "controls": len(test.first) + len(test.second),
        "one": figure(share(test.chances <= LEVEL)),
        "alarms": figure(test.alarms),
        "group": figure(share(np.array(found))) | {"groups": len(groups)},
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
