"""Lines that commands print."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whence.cli.progress import duration

if TYPE_CHECKING:
    from whence.cost import Cost
    from whence.ensemble import Ablation


def say(text: str) -> None:
    """Print a line."""
    print(text, flush=True)


def show_notes(notes: Sequence[str]) -> None:
    """Print the notes on a data set."""
    for note in notes:
        say(f"Note: {note}")


def show_cost(cost: Cost, place: Path) -> None:
    """Print the cost of a command that writes to `place`."""
    parent = next(folder for folder in (place.resolve(), *place.resolve().parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    say(f"Work:   {cost.work}")
    say(f"Time:   about {duration(cost.seconds)} on this machine")
    say(f"Memory: about {size(cost.memory)}")
    say(f"Disk:   about {size(cost.disk)} ({size(free)} free here)")
    say("Nothing was started. Leave out --plan to start.")


def show_ablation(ablation: Ablation) -> None:
    """Print the distances of an ablation and where its picture is."""
    units = ", ".join(ablation.units)
    members = f"members that saw {units}" if ablation.keep_only else f"members that never saw {units}"
    say(f"Picture {ablation.sample}, drawn again by the {len(ablation.survivors)} {members}:")
    distance = ablation.placebo_distance
    placebo = "no placebo: every code word belongs to a unit" if distance is None else f"placebo {distance:.3f}"
    say(f"  distance {ablation.distance:.3f}, {placebo}")
    say(f"  {ablation.path / 'picture.png'}  (picture, without, difference, placebo, difference)")


def size(count: float) -> str:
    """Return a number of bytes in words.

    Example:
        >>> size(1536), size(3 * 2**30)
        ('1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}"
