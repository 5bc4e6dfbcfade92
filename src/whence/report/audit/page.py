"""What the pages of all audits share: their style, the model and the date on top, and how they were made."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.artefacts import Artefact
from whence.report.picture import CRISP
from whence.report.template import fill, fingerprints, flat_settings, versions


def write_audit_page(
    template: str, audit: Artefact, out: Path, *, model: str, size: tuple[int, int, int], **values: Any
) -> Path:
    """Return the path of the page of an audit, written as one self-contained HTML file that replaces an older one.

    Args:
        template: Its template.
        audit: The audit.
        out: The file.
        model: The name of the model's folder.
        size: Channels, height and width of the pictures on it.
        values: Values of the template; `settings` are named beside those of the audit.
    """
    settings = {**values.pop("settings", {}), **flat_settings(audit.manifest.made)}
    page = fill(
        template,
        styles=("report.css", "audit.css"),
        version=str(audit.manifest.environment["whence"]),
        crisp=max(size[1:]) <= CRISP,
        model=model,
        date=date.today().isoformat(),
        provenance={
            "Settings": settings,
            "Fingerprints": fingerprints(audit.manifest),
            "Versions": versions(audit.manifest),
        },
        **values,
    )
    artefacts.write_bytes(out, page.encode())
    return out
