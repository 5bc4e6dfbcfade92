"""The README says what is true: its Python runs, and its commands exist with these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

import whence
from whence.cli.app import app

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
TINY = whence.Config(
    model={"channels": [8]},
    training={"steps": 2, "batch_size": 8, "checkpoints": 1},
    sampler={"steps": 2},
)


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "members=16)" in code
    monkeypatch.chdir(tmp_path)
    exec(code.replace("members=16)", "members=16, config=TINY, workers=1)"), {"TINY": TINY})
    printed = capsys.readouterr().out
    assert len(re.findall(r"\d+\.\d+", printed)) >= 2 + 5
    assert (tmp_path / "runs" / "ens" / "report.html").exists()


COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("whence ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line):
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("whence", words)


def test_it_is_short_and_its_picture_exists():
    assert len(README.splitlines()) < 100
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
