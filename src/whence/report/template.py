"""Pages from templates: every page has the same frame and style, and all values are escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from whence.artefacts import Manifest
from whence.errors import join_names
from whence.report.text import plural


def fill(template: str, *, styles: Sequence[str] = ("report.css",), **values: Any) -> str:
    """Return a page as HTML, from a template and style sheets beside this file; text in the values is escaped."""
    return environment().get_template(template).render(css="\n".join(map(read_resource, styles)), **values)


def environment(*packages: str) -> Environment:
    """Return the environment of the templates in some packages and of those of reports; values are escaped."""
    templates = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: read_resource(name, *packages)),
    )
    templates.globals |= {"plural": plural, "join_names": join_names}
    return templates


def read_resource(name: str, *packages: str) -> str:
    """Return the text of a template, style sheet or script in the first of some packages that has it, or in reports."""
    places = [resources.files(package).joinpath(name) for package in (*packages, "whence.report")]
    return next((place for place in places if place.is_file()), places[-1]).read_text("utf-8")


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names with their values as text; None is ``default``."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = "default" if value is None else str(value)
    return flat


def fingerprints(manifest: Manifest) -> dict[str, str]:
    """The fingerprint of an artefact, and those of what it was made from."""
    return {"fingerprint": manifest.fingerprint} | {f"of {name}": str(value) for name, value in manifest.inputs.items()}


def versions(manifest: Manifest) -> dict[str, str]:
    """The versions and the platform that made an artefact."""
    return {name: str(value) for name, value in manifest.environment.items()}
