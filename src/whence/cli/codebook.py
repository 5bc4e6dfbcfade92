"""The command `whence ensemble codebook`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.ensemble.codebook_design import CodebookDesign

#: Effects for which power is predicted, and the largest number of rows of the table.
EFFECTS, ROWS = (0.5, 1.0, 2.0, 4.0), 40

COLUMNS = """words: code words there are. left of n: members that draw when n units are removed, at least.
names at {level:.0%}: whether enough words are left as placebos to name one of all units by exact losses.
own unit first: predicted share of training images that exact losses trace to their own unit, before all others, if
members that saw it know it better by d standard deviations between members. The d of small digit models was measured
(docs/benchmarks-ensembles.md); it grows with the number of times that a member sees an image."""
TOO_FEW_WORDS = """No codebook of this table has enough words to name one of so many units. Larger units (--unit-column)
need fewer words; weights nearer to half of the members (a weaker guarantee) give more."""


def codebook(
    units: Annotated[int, typer.Option(help="Number of units: images, or artists if each artist is left out as one.")],
    remove: Annotated[int, typer.Option(help="Units that may be removed together, whichever they are.")] = 1,
    survivors: Annotated[int, typer.Option(help="Members that must be left then.")] = 1,
) -> None:
    """Choose members and weight of a codebook before anything is trained: guarantee, cost and power.

    A word of weight w shows its unit to w of M members, so w <= (M - survivors) / remove is the guarantee. The table
    begins with the fewest members. Its last columns are predictions: how often exact losses trace a training image back
    to its own unit, if members that saw the image know it better by so many standard deviations between members.

    Example: `whence ensemble codebook --units 1500 --remove 2 --survivors 2`
    """
    from whence.ensemble.codebook_design import designs
    from whence.statistics.placebo_test import LEVEL

    rows = list(islice(designs(units, remove, survivors), ROWS))
    able = next((k for k, design in enumerate(rows) if design.can_name()), len(rows) - 1)
    say(f"Codebooks for {units:,} units: any {remove} removed, at least {survivors} members left.\n")
    titles = ("members", "weight", "words", f"left of {remove}", "left of 1", f"names at {LEVEL:.0%}")
    say("".join(f"{title:>12}" for title in titles) + "   own unit first if d is")
    say(" " * 72 + "".join(f"{effect:>7g}" for effect in EFFECTS))
    for design in rows[: able + 3]:
        if design in (rows[0], rows[able]) or design.members % 2 == 0:
            say(_row(design))
    say("\n" + COLUMNS.format(level=LEVEL))
    _show_costs(rows[0], rows[able])


def _row(design: CodebookDesign) -> str:
    from whence.ensemble.codebook_design import predicted_power

    numbers = (design.members, design.weight, design.capacity, design.guaranteed, design.survivors)
    able = "yes" if design.can_name() else "no"
    power = "".join(f"{predicted_power(design, effect).first:>7.0%}" for effect in EFFECTS)
    return "".join(f"{number:>12,}" for number in numbers) + f"{able:>12}" + power


def _show_costs(smallest: CodebookDesign, able: CodebookDesign) -> None:
    """Print the costs of two codebooks, and whether the second can name a unit."""
    from whence.ensemble.influence import independence_note

    for design in dict.fromkeys((smallest, able)):
        say(
            f"Cost of {design.members} members of weight {design.weight}: {design.members} training runs, each on "
            f"about {design.weight / design.members:.0%} of the units; per step {design.members}"
        )
        say(
            f"  network evaluations for a picture, {design.survivors} for its ablation, "
            f"{design.units * design.survivors:,} for its whole landscape."
        )
        say(f"  whence ensemble train DATA --members {design.members} --weight {design.weight} --out runs/ens")
    if not able.can_name():
        say(TOO_FEW_WORDS)
    say(independence_note(able.members))
