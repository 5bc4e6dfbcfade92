"""The table of `whence ensemble codebook`."""

from __future__ import annotations

from itertools import islice

from whence.cli.show import say
from whence.ensemble.design import Design, designs, predicted_power
from whence.ensemble.verdict import shared
from whence.statistics.placebo_test import LEVEL

#: Effects for which power is predicted, and rows of the table at most.
EFFECTS, ROWS = (0.5, 1.0, 2.0, 4.0), 40

COLUMNS = f"""words: code words there are. left of n: members that draw when n units are removed, at least.
names at {LEVEL:.0%}: whether words enough are left as placebos to name one of all units by exact losses.
own unit first: predicted share of training images that exact losses trace to their own unit, before all others, if
members that saw it know it better by d standard deviations between members. The d of small digit models was measured
(docs/benchmarks.md); it grows with the times that a member sees an image."""
TOO_MANY = """No codebook of this table has words enough to name one of so many: larger units (--unit-column) or weights
nearer to half of the members (a weaker guarantee) have more."""


def show_designs(units: int, remove: int, survivors: int) -> None:
    """Print codebooks from the smallest to the first that can name anybody, and what they cost."""
    found = list(islice(designs(units, remove, survivors), ROWS))
    able = next((k for k, one in enumerate(found) if one.can_name()), len(found) - 1)
    chosen = [one for one in found[: able + 3] if one in (found[0], found[able]) or one.members % 2 == 0]
    say(f"Codebooks for {units:,} units: any {remove} removed, at least {survivors} members left.\n")
    titles = ("members", "weight", "words", f"left of {remove}", "left of 1", f"names at {LEVEL:.0%}")
    say("".join(f"{title:>12}" for title in titles) + "   own unit first if d is")
    say(" " * 72 + "".join(f"{effect:>7g}" for effect in EFFECTS))
    for one in chosen:
        say(_row(one))
    say("")
    _explain(found[0], found[able])


def _row(one: Design) -> str:
    numbers = (one.members, one.weight, one.capacity, one.guaranteed, one.survivors)
    able = "yes" if one.can_name() else "no"
    power = "".join(f"{predicted_power(one, effect).first:>7.0%}" for effect in EFFECTS)
    return "".join(f"{value:>12,}" for value in numbers) + f"{able:>12}" + power


def _explain(smallest: Design, able: Design) -> None:
    """Print what the columns mean and the costs of two rows."""
    say(COLUMNS)
    for one in dict.fromkeys((smallest, able)):
        say(
            f"Cost of {one.members} members of weight {one.weight}: {one.members} training runs, each on about "
            f"{one.weight / one.members:.0%} of the units; per step {one.members}"
        )
        say(
            f"  network evaluations for a picture, {one.survivors} for its ablation, {one.units * one.survivors:,} for "
            "its whole landscape."
        )
        say(f"  whence ensemble train DATA --members {one.members} --weight {one.weight} --out runs/ens")
    if not able.can_name():
        say(TOO_MANY)
    say(shared(able.members))
