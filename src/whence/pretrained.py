"""Models that transformers wrote to local folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whence.errors import ArtefactError


@contextmanager
def quiet_transformers(folder: Path, problem: str) -> Iterator[None]:
    """Open what transformers wrote to a folder without its progress bars and load reports.

    Raises:
        ArtefactError: Anything goes wrong; the message says the problem: ``"can't be used as a vision model"``.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:
        raise ArtefactError(f"{folder} {problem}: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
