"""The command reference: what `--help` says, as pages of Markdown."""

from __future__ import annotations

import re

import click
import typer
from typer.cli import get_docs_for_click

from whence.cli.app import app


def command_pages() -> dict[str, str]:
    """Return the pages by path: one of the plain commands, and one for each group."""
    whole = typer.main.get_command(app)
    groups = {name: command for name, command in whole.commands.items() if hasattr(command, "commands")}
    pages = {f"commands/{name}.md": _page(command, f"whence {name}") for name, command in groups.items()}
    plain = _page(whole, "whence")
    first = re.search(rf"^## `whence ({'|'.join(groups)})`", plain, re.MULTILINE)
    return {"commands/index.md": plain[: first.start()] if first else plain, **pages}


def _page(command: click.Command, name: str) -> str:
    """The help of a command and of all below it; headings of second level stand for commands."""
    text = get_docs_for_click(obj=command, ctx=click.Context(command, info_name=name), name=name)
    return re.sub(r"^\* `--help`: .*\n", "", text, flags=re.MULTILINE)
