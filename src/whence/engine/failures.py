"""The errors of tasks, reported together."""

from __future__ import annotations

from collections.abc import Mapping

from whence.errors import WhenceError, join_names

#: Largest number of different errors that a message has in full.
MOST = 10


def raise_failures(failures: Mapping[str, WhenceError], tasks: int) -> None:
    """Raise the errors of tasks by task name, if there are any.

    Raises:
        WhenceError: The error itself if there is one; of several, an error of their class, if they have one class, that
            has the text of each and the names of its tasks.

    Example:
        >>> from whence.errors import DataError
        >>> bad = {"a": DataError("1.png is damaged."), "b": DataError("2.png is damaged.")}
        >>> raise_failures(bad, 5)
        Traceback (most recent call last):
        whence.errors.DataError: 2 of 5 pieces of work failed. The others are done and kept: the same command goes on.
          a: 1.png is damaged.
          b: 2.png is damaged.
    """
    errors = list(failures.values())
    if len(errors) < 2:
        for error in errors:
            raise error
        return
    by_text: dict[str, list[str]] = {}
    for name, error in failures.items():
        by_text.setdefault(str(error), []).append(name)
    lines = [f"  {join_names(names)}: {text}" for text, names in list(by_text.items())[:MOST]]
    more = [f"  ... and {len(by_text) - MOST:,} more"] if len(by_text) > MOST else []
    kept = "The others are done and kept: the same command goes on."
    text = "\n".join([f"{len(errors):,} of {tasks:,} pieces of work failed. {kept}", *lines, *more])
    classes = {type(error) for error in errors}
    raise (classes.pop() if len(classes) == 1 else WhenceError)(text)
