"""Filling the templates of pages: one frame, one style, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from whence.report.words import counted, listed


def fill(template: str, *, styles: Sequence[str] = ("report.css",), **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: Name of a template beside this file.
        styles: Names of style sheets beside this file, in order.
        **values: What the template is filled with; text is escaped.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_read),
    )
    environment.globals |= {"counted": counted, "listed": listed}
    return environment.get_template(template).render(css="\n".join(map(_read, styles)), **values)


def _read(name: str) -> str:
    return resources.files("whence.report").joinpath(name).read_text("utf-8")
