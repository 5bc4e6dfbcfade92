"""Progress with the time left: a bar on a terminal, or else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: Seconds between lines where the output is not a terminal.
INTERVAL = 15.0


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows how far the work is, from its first call until all is done.

    Several may be open together, but each must be done before the next begins: a terminal has room for one bar.
    """
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        from rich.console import Console

        bar = Progress(*columns, console=Console(stderr=True))
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
        return
    yield _Lines(title)


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
        print(f"{self.title}: {done / total:4.0%}{remaining(left)}", file=sys.stderr, flush=True)


def remaining(seconds: float | None) -> str:
    """Return the time left in words.

    Example:
        >>> remaining(75.0)
        ', 1 min 15 s left'
    """
    return "" if not seconds else f", {duration(seconds)} left"


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
