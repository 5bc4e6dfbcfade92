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


class Output:
    """A text stream that drops what is written after its reader has gone, as in ``whence ... | head``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; return its length."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Let everything from now on go nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_output() -> None:
    """Make standard output and errors safe, and show warnings of Whence as notes."""
    codecs.register_error("whence", _replace)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="whence")
            setattr(sys, name, Output(stream))
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, WhenceWarning):
            print(f"Note: {message}", file=sys.stderr)
        else:
            usual(message, category, *place, **more)

    warnings.showwarning = show
