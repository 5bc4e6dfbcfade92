"""What commands print: lines, costs, tables with intervals, and progress with the time left."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console

import whence

if TYPE_CHECKING:
    from whence.cost import Cost, Throughput
    from whence.engine import Executor
    from whence.proof.survivor_certificate import SurvivorCertificate
    from whence.scores.stored import StoredScores
    from whence.statistics.statistic import Statistic

#: What runs the tasks of the command; None for processes of this machine.
EXECUTOR: ContextVar[Executor | None] = ContextVar("executor", default=None)
#: Seconds between lines of progress where the output is not a terminal.
INTERVAL = 15.0
#: From so many queries on, no warning says that intervals are wide.
MANY = 20


def say(text: str) -> None:
    """Print a line."""
    print(text, flush=True)


def show_paragraph(text: str) -> None:
    """Print a paragraph."""
    say(fill(" ".join(text.split()), 100))


def show_notes(notes: Sequence[str], of: str | None = None) -> None:
    """Print the notes on the data of a command, or on other pictures that `of` names."""
    for note in notes:
        say(f"Note on {of}: {note}" if of else f"Note: {note}")


def show_cost(cost: Cost, place: Path) -> None:
    """Print the cost of a command that writes to `place`."""
    parent = next(folder for folder in (place.resolve(), *place.resolve().parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    say(f"Work:   {cost.work}")
    say(f"Time:   about {duration(cost.seconds)} on this machine")
    say(f"Memory: about {size(cost.memory)}")
    say(f"Disk:   about {size(cost.disk)} ({size(free)} free here)")
    if cost.throughput is not None:
        show_throughput(cost.throughput)
    say("Nothing was started. Leave out --plan to start.")


def show_throughput(one: Throughput) -> None:
    """Print how fast gradients are taken, and what more images would take."""
    here = f"{one.processes} {one.unit}{'s' if one.processes > 1 else ''}"
    say(f"Rate:   {one.images:.3g} images a second here, at {one.draws} draws, on {here}")
    for name, count in (("1 M:", 10**6), ("100 M:", 10**8)):
        say(f"{name:7} {one.hours(count):,.0f} {one.unit}-hours like these, and {size(count * one.disk)} of features")
    say("        --prefilter takes gradients of fewer images, and says what that loses when it has run.")


def show_ablation(ablation: whence.Ablation) -> None:
    """Print the distances of an ablation and where its picture is."""
    units = ", ".join(ablation.units)
    members = f"members that saw {units}" if ablation.keep_only else f"members that never saw {units}"
    say(f"Picture {ablation.sample}, drawn again by the {len(ablation.survivors)} {members}:")
    distance = ablation.placebo_distance
    placebo = "no placebo: every code word belongs to a unit" if distance is None else f"placebo {distance:.3f}"
    say(f"  distance {ablation.distance:.3f}, {placebo}")
    base = ", base, difference" if "base" in ablation.pictures else ""
    say(f"  {ablation.path / 'picture.png'}  (picture, without, difference, placebo, difference{base})")


def show_certificate(certificate: SurvivorCertificate, file: Path, options: str) -> None:
    """Print what a certificate says, where it is, and how it is checked: with its root and further options."""
    say(certificate.statement)
    for line in certificate.not_proven:
        say(f"Not proven: {line}")
    say(f"The certificate: {file}")
    say(f"Its root, to be published by another way: {certificate.root}")
    say(f"To check it: whence verify {file} {options} --root {certificate.root}")


def show_statistics(statistics: Mapping[str, Mapping[str, Statistic]], forms: Mapping[str, str]) -> None:
    """Print a table of numbers by method and measure, with the format of each measure; one measure after the other."""
    show_table(
        (measure, method, numbers[measure], form)
        for measure, form in forms.items()
        for method, numbers in statistics.items()
        if measure in numbers
    )


def show_table(rows: Iterable[tuple[str, str, Statistic, str]]) -> None:
    """Print rows of measure, method, number and its format as a table with intervals and chance."""
    lines, without_width = [("measure", "method", "value", "95% interval", "chance")], False
    for measure, method, statistic, form in rows:
        interval = statistic.interval
        without_width |= interval.low == interval.high
        ends = f"{format(interval.low, form)} to {format(interval.high, form)}"
        lines.append((measure, method, format(statistic.value, form), ends, format(statistic.chance, form)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        if number and line[0] != lines[number - 1][0]:
            say("")
        cells = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        say("  ".join(cells).rstrip())
    say("")
    if without_width:
        say("An interval without width: all that was measured says the same. Of n others, up to 3/n may still not.")


def show_sizes(stored: Sequence[StoredScores]) -> None:
    """Print how many queries and training images scores have, and when they can't be compared with each other."""
    sizes = list(dict.fromkeys((len(scores.scores.queries), len(scores.scores.examples)) for scores in stored))
    say("; ".join(f"{queries:,} queries, {examples:,} training images" for queries, examples in sizes))
    if len({(frozenset(scores.scores.queries), frozenset(scores.scores.examples)) for scores in stored}) > 1:
        say("Note: these scores are not all of the same queries and training images, so lines can't be compared.")
    if min(queries for queries, _ in sizes) < MANY:
        say(f"Note: so few queries leave wide intervals; {MANY} or more make them narrower.")


def size(count: float) -> str:
    """Return a number of bytes in words, such as 1.5 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span in words.

    Example:
        >>> duration(7), duration(75), duration(7500)
        ('7 s', '1 min 15 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def show_work(title: str, workers: int | None = None) -> Iterator[whence.Engine]:
    """Yield an engine whose progress is shown under a title, with the executor of the command."""
    with progress(title) as report:
        yield whence.Engine(workers, report, executor=EXECUTOR.get())


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows how far the work is, from its first call until all is done.

    It is a bar on a terminal, or else a line every few seconds. Several may be open together, but each must be done
    before the next begins: a terminal has room for one bar.
    """
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    bar = bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task(title, total=None)

    def show(done: int, total: int) -> None:
        if not bar.finished:
            bar.start()
            bar.update(task, completed=done, total=total)
        if bar.finished:
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()


class _Lines:
    """A line every `INTERVAL` seconds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.start: tuple[float, int] | None = None
        self.last = 0.0
        self.ended = False

    def __call__(self, done: int, total: int) -> None:
        if self.ended:
            return
        now, self.ended = time.monotonic(), done >= total
        self.start = self.start or (now, done)
        if done < total and now - self.last < INTERVAL:
            return
        self.last = now
        begun, first = self.start
        left = (now - begun) / (done - first) * (total - done) if done > first else None
        remaining = f", {duration(left)} left" if left else ""
        print(f"{self.title}: {done / total:4.0%}{remaining}", file=sys.stderr, flush=True)
