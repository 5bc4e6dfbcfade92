from __future__ import annotations

import contextlib
import io
import sys

import pytest

from whence.cli.app import main


class Outcome:
    """Exit code and output of one command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture(scope="session")
def printed_by():
    """Run `whence ...` in this process, for fixtures that many tests share; it must end well. Returns what it says."""

    def run(*words: object) -> str:
        printed = io.TextIOWrapper(io.BytesIO(), "utf-8")
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.setattr(sys, "argv", ["whence", *map(str, words)])
            try:
                main()
            except SystemExit as end:
                if end.code:
                    raise
        printed.seek(0)
        return printed.read()

    return run


@pytest.fixture
def whence(monkeypatch, capsys):
    """Run `whence ...` in this process."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["whence", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
