"""Standard output and errors that never end a command: on any console, and after their reader has gone."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
import warnings
from typing import Any, TextIO

from whence.errors import WhenceWarning

_PLAIN = {"±": "+/-", "×": "x", "→": "->", "–": "-", "—": "-", "…": "...", "≤": "<=", "≥": ">=", "≈": "~", "√": "sqrt"}


def plain(text: str) -> str:
    """Return text in ASCII, as readable as it can be.

    Example:
        >>> plain("José: 0.5 ± 0.1, 界")
        'Jose: 0.5 +/- 0.1, ?'
    """
    spelled = "".join(_PLAIN.get(character, character) for character in text)
    bare = "".join(c for c in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a console can't show by ones that it can."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


#: What a stream is called in messages, by its name in `sys`; None where no error of writing is worth a message.
STREAMS = {"stdout": "standard output", "stderr": None}
#: Fewest columns of a terminal in which help can be read.
COLUMNS = 20


class Output:
    """A text stream that drops what is written after its reader has gone, as in ``whence ... | head``.

    Where the stream has a title, other errors of writing, such as a full disk, are raised once and name it; without a
    title they are dropped too.
    """

    def __init__(self, stream: TextIO, title: str | None = None) -> None:
        self._stream, self._title = stream, title

    def write(self, text: str) -> int:
        """Write text; return its length."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Let everything from now on go nowhere; raise the error if it is worth a message."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if self._title is not None and not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, self._title) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_output() -> None:
    """Make standard output and errors safe, ignore a width that nothing fits, and show warnings of Whence as notes."""
    codecs.register_error("whence", _replace)
    for name, title in STREAMS.items():
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="whence")
            setattr(sys, name, Output(stream, title))
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or int(columns) < COLUMNS:
        os.environ.pop("COLUMNS", None)
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, WhenceWarning):
            print(f"Note: {message}", file=sys.stderr)
        else:
            usual(message, category, *place, **more)

    warnings.showwarning = show
