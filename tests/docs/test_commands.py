"""Every command that a page shows exists, with these options."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from whence.cli.app import app

NAMES = runpy.run_path(str(Path(__file__).parent / "pages.py"))
PAGES, blocks = NAMES["PAGES"], NAMES["blocks"]


def lines(text: str) -> list[str]:
    """The commands that stand in blocks, each in one line."""
    joined = "\n".join(blocks(text)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in joined if line.startswith("whence ")]


WHOLE = {(page, shlex.join(words)): words[1:] for page, text in PAGES.items() for words in lines(text)}
COMMAND = typer.main.get_command(app)
#: Commands inside sentences may lack arguments.
INLINE = sorted(
    {
        (page, " ".join(line.split()))
        for page, text in PAGES.items()
        for line in re.findall(r"`(whence [^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    }
)


def find(words: list[str]):
    """The command that words name, and the words behind it."""
    command, left = COMMAND, list(words)
    while hasattr(command, "commands") and left and left[0] in command.commands:
        command = command.commands[left.pop(0)]
    return command, left


@pytest.mark.parametrize(("page", "line"), WHOLE)
def test_a_command_in_a_block_parses(page, line):
    command, left = find(WHOLE[page, line])
    assert not hasattr(command, "commands"), f"no such command: {line}"
    command.make_context("whence", left)


@pytest.mark.parametrize(("page", "line"), INLINE)
def test_a_command_in_a_sentence_exists_with_its_options(page, line):
    command, left = find(line.split()[1:])
    assert not hasattr(command, "commands") or not left or left[0] in {"...", "|"} or left[0].startswith("--"), line
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in left if word.startswith("--")} <= known | {"--help", "--version"}


def test_commands_were_found():
    assert len(WHOLE) > 60
    assert len({page for page, _ in WHOLE}) >= 10
    assert len(INLINE) > 20
