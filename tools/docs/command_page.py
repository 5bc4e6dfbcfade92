"""The command reference: what `--help` says, as pages of Markdown."""

from __future__ import annotations

import re

import click
import typer
from typer.cli import get_docs_for_click

from whence.cli.app import app

#: An option outside of code.
OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z0-9-]*)")


def command_pages() -> dict[str, str]:
    """Return the pages by path: one of the plain commands, and one for each group."""
    whole = typer.main.get_command(app)
    groups = {name: command for name, command in whole.commands.items() if hasattr(command, "commands")}
    pages = {f"commands/{name}.md": _page(command, f"whence {name}") for name, command in groups.items()}
    plain = _page(whole, "whence")
    first = re.search(rf"^## `whence ({'|'.join(groups)})`", plain, re.MULTILINE)
    return {"commands/index.md": plain[: first.start()] if first else plain, **pages}


def _page(group: click.Group, name: str) -> str:
    """The help of a group and of all commands below it; headings of second level stand for commands."""
    text = get_docs_for_click(obj=group, ctx=click.Context(group, info_name=name), name=name)
    text = re.sub(r"^\* `--help`: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\*\*Options\*\*:\n\n(?!\*)", "", text, flags=re.MULTILINE)
    before, _, after = text.partition("**Commands**:\n")
    commands = [_entry(one, own, name) for one, own in group.commands.items()]
    return _with_code(f"{before}{chr(10).join(commands)}\n{after[after.index(chr(10) + '## ') :]}")


def _entry(name: str, command: click.Command, group: str) -> str:
    """A line of the list of commands: the name, and the first paragraph of the help."""
    target = f"{name}.md" if hasattr(command, "commands") else "#" + f"{group} {name}".replace(" ", "-")
    first, _, _ = (command.help or "").partition("\n\n")
    return f"* [`{name}`]({target}): {' '.join(first.split())}"


def _with_code(text: str) -> str:
    """Text with options in backticks, where they stand in sentences."""
    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(part if k % 2 else OPTION.sub(r"`\1`", part) for k, part in enumerate(parts))
