"""What commands print of landscapes and losses: verdicts, the first units, radii."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from whence.cli.show import say

if TYPE_CHECKING:
    from whence.ensemble import Ensemble
    from whence.ensemble.influence import Influence
    from whence.ensemble.landscape import Landscape
    from whence.ensemble.reading import Binarised


def way_out(ensemble: Ensemble, needed: int) -> str:
    """What to do when there are too few placebos to name anybody."""
    book = ensemble.codebook
    left = math.comb(book.members, book.weight) - len(book.units)
    more = f"`ensemble landscape --placebos {needed}` extends a landscape to enough placebos"
    none = f"The codebook has only {left:,} words left for placebos; `ensemble codebook` finds one with enough"
    return (
        f"{more if left >= needed else none}.\nFewer units need fewer: --nearest 10 asks about the ten most alike. "
        "Exact losses have placebos for nothing: `ensemble losses`."
    )


def show_reading(reading: Influence, top: int, noun: str) -> None:
    """Print a verdict and the first units with their effects, which are of this kind."""
    from whence.ensemble.verdict import background, chance, verdict

    say(f"  {verdict(reading, noun)}")
    if len(reading.units) > 1 and len(reading.placebos):
        say(f"  {background(reading)}")
    say(f"  {'unit':24} {noun:>22} {'p alone':>9} {'p of all':>9}")
    for u in reading.order[:top]:
        alone, corrected = chance(float(reading.p_values[u])), chance(float(reading.adjusted[u]))
        say(f"  {reading.units[u]:24} {reading.effects[u]:22.5g} {alone:>9} {corrected:>9}")


def show_radius(one: Landscape) -> None:
    """Print the radius of a landscape beside that of its placebos."""
    from whence.ensemble.reading import published_scale

    reading = one.reading()
    channels, height, width = one.factual.shape
    published = f"{reading.radius * published_scale((channels, height, width)):.1f} at 256x256x3"
    text = f"Picture {one.sample}: radius {reading.radius:.3f} ({published}) over {len(reading.units):,} units"
    if len(reading.placebos):
        text += (
            f"; of {reading.matched:,} units {reading.matched_radius:.3f}, of as many placebos "
            f"{reading.placebo_radius:.3f}"
        )
    say(text)


def show_binarised(one: Binarised) -> None:
    """Print whether anybody is needed for a picture in black and white."""
    count = len(one.changed)
    if one.unattributable:
        say(f"Picture {one.sample} in black and white is unattributable: {count:,} of {count:,} units certify it, each")
        say("  left out by itself changes no pixel.")
        return
    say(f"Picture {one.sample} in black and white: radius {one.radius:.3f}; {one.certifying:,} of {count:,} units")
    say("  left out by themselves change no pixel.")
