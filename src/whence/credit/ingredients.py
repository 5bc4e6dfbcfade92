"""The shares in one picture as ingredients in the JSON form of C2PA manifests, beside the picture. It is not signed.

The form is that of the JSON manifest definitions of the C2PA tools: a title, ingredients with title and relationship,
and assertions. Shares are in an assertion of our own, because C2PA has none for them. A manifest is only valid once it
is signed and bound to the picture; this file is neither, and says so.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

from whence import artefacts
from whence.credit.credit import LEVEL, Credit
from whence.errors import DataError

#: Label of the assertion that holds the shares.
LABEL = "org.whence.shares"
NOT_SIGNED = (
    "This file is not signed and not bound to the picture. It is no C2PA manifest; it only has the form of one. "
    "Shares are estimates with intervals, of one model and one way to share out."
)


def ingredients(credit: Credit, query: str) -> dict[str, Any]:
    """Return the shares of all contributors in a picture, in the JSON form of a manifest definition.

    Contributors come from the largest share. Without intervals `low` and `high` are null.

    Raises:
        DataError: No behaviour of this picture was shared out.
    """
    rows = [b for b, one in enumerate(credit.explained) if one.picture == query]
    if not rows:
        known = dict.fromkeys(one.picture for one in credit.explained if one.picture is not None)
        raise DataError(f"There are no shares in the picture {query!r}; there are {', '.join(known) or 'none'}.")
    order = sorted(range(len(credit.units)), key=lambda u: -float(credit.shares[rows[0], u]))
    return {
        "signed": False,
        "note": NOT_SIGNED,
        "title": query,
        "claim_generator_info": [{"name": "whence", "version": version("whence")}],
        "ingredients": [
            {
                "title": credit.units[u],
                "relationship": "inputTo",
                "metadata": {"training_examples": len(credit.examples[u]), "shares": _shares(credit, rows, u)},
            }
            for u in order
        ],
        "assertions": [{"label": LABEL, "data": _totals(credit, rows)}],
    }


def _shares(credit: Credit, rows: list[int], u: int) -> list[dict[str, Any]]:
    """The shares of a contributor, one for each behaviour of the picture."""
    return [
        {
            "behaviour": credit.explained[b].name,
            "share": float(credit.shares[b, u]),
            "low": None if credit.low is None else float(credit.low[b, u]),
            "high": None if credit.high is None else float(credit.high[b, u]),
            "unit": credit.explained[b].unit,
        }
        for b in rows
    ]


def _totals(credit: Credit, rows: list[int]) -> dict[str, Any]:
    """How the shares were computed, and what no contributor has."""
    behaviours = [
        {
            "behaviour": credit.explained[b].name,
            "title": credit.explained[b].title,
            "nobody": float(credit.remainder[b]) if math.isfinite(credit.remainder[b]) else None,
        }
        for b in rows
    ]
    interval = {"level": LEVEL, "covers": credit.how.get("interval", "")} if credit.replicates is not None else None
    return {"estimator": credit.estimator, "interval": interval, "behaviours": behaviours}


def write_ingredients(credit: Credit, query: str, path: Path) -> Path:
    """Write the ingredients of a picture as a JSON file; a file that is there is replaced.

    Returns:
        The path.

    Raises:
        DataError: No behaviour of this picture was shared out.
    """
    artefacts.write_json(path, ingredients(credit, query))
    return path
