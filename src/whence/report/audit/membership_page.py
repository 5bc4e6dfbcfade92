"""The page of an audit of membership: the answer in sentences, then every picture with its chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whence import artefacts
from whence.audit.membership import MembershipAudit
from whence.data import Dataset
from whence.errors import MismatchError
from whence.report.audit.sentences import membership_sentences
from whence.report.picture import CRISP, SMALL, Picture, data_uri
from whence.report.template import fill, fingerprints, flat_settings, versions
from whence.report.text import percent

#: Pictures on the page.
SHOWN = 400


def write_membership_page(audit: MembershipAudit, pictures: Dataset, level: float, out: Path) -> Path:
    """Return the path of the page, written as one self-contained HTML file that replaces an older one.

    Raises:
        MismatchError: The pictures are not those of the audit.
    """
    if list(pictures.ids) != audit.pictures["id"]:
        raise MismatchError("The pictures are not those of the audit. Give the pictures that it is of.")
    test = audit.test(level)
    chances = audit.chances(level)
    order = np.argsort(chances, kind="stable")[:SHOWN].tolist()
    cards = [
        Picture(
            data_uri(pictures.pixels[n], SMALL),
            f"Picture {pictures.ids[n]}",
            pictures.ids[n],
            (f"chance {percent(float(chances[n]))}",),
        )
        for n in order
    ]
    page = fill(
        "audit-membership.html.j2",
        styles=("report.css", "audit.css"),
        name="were these pictures in the training data?",
        version=str(audit.manifest.environment["whence"]),
        crisp=max(pictures.size[1:]) <= CRISP,
        sentences=membership_sentences(audit, level),
        cards=cards,
        count=len(pictures),
        controls=0 if test is None else len(test.first) + len(test.second),
        provenance={
            "Settings": {"level": percent(level), **flat_settings(audit.manifest.made)},
            "Fingerprints": fingerprints(audit.manifest),
            "Versions": versions(audit.manifest),
        },
    )
    artefacts.write_bytes(out, page.encode())
    return out
