"""How shares were made, for the end of a page."""

from __future__ import annotations

from collections.abc import Iterator

from whence.credit.credit import Credit
from whence.report.credit.folder import Credits
from whence.report.overview import flat


def told(credit: Credit) -> dict[str, str]:
    """How shares were made, in words; what was not told is empty."""
    return dict.fromkeys(("values", "interval", "null"), "") | credit.how


def making(found: Credits, *estimators: str) -> Iterator[tuple[str, dict[str, str]]]:
    """How the shares of some estimators were made: titled tables of names and values."""
    for name in estimators:
        manifest = found.manifests[name]
        prints = {"fingerprint": manifest.fingerprint, **{f"of {k}": str(v) for k, v in manifest.inputs.items()}}
        yield name, {**found.credits[name].how, **flat(manifest.made), **prints}
    versions = found.manifests[estimators[0]].environment
    yield "Versions", {name: str(value) for name, value in versions.items()}
