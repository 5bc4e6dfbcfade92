"""Space in temporary files, for what is too large to be held in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from whence.errors import DataError


@contextmanager
def temporary_space(content: str) -> Iterator[None]:
    """Turn the errors of writing a temporary file into one that says what to do.

    Where temporary files are, the environment variable ``TMPDIR`` says.

    Raises:
        DataError: The file can't be written, as on a full disk; the message names the content.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"The {content} don't fit into a temporary file in {tempfile.gettempdir()}: {error.strerror}. Name a "
            "folder with more space in the environment variable TMPDIR."
        ) from None
