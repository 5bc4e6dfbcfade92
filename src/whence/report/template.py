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
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_read)
    )
    environment.globals |= {"plural": plural, "join_names": join_names}
    return environment.get_template(template).render(css="\n".join(map(_read, styles)), **values)


def _read(name: str) -> str:
    return resources.files("whence.report").joinpath(name).read_text("utf-8")


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
