"""What an audit of memorisation found, in plain words: how often it is wrong first, no copies where that is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from whence.audit.memorisation import NEIGHBOURS, Hit, MemorisationAudit
from whence.report.text import are, percent, plural, probably

#: What the distance of an audit of memorisation is.
DISTANCE = (
    f"The distance is that from the drawn picture to the training picture, divided by the mean distance to the next "
    f"{NEIGHBOURS} training pictures: small means alike."
)


def memorisation_sentences(audit: MemorisationAudit) -> list[str]:
    """Return the answer of an audit of memorisation; the first sentence is about mistakes."""
    count, hits = len(audit.drawn["id"]), audit.hits
    sentences = [_rule(audit, count), _found(audit, count)]
    if hits:
        repeated = sum(hit.copies > 1 for hit in hits)
        more = f" {repeated:,} of them {are(repeated)} near to a picture that is in the data more than once."
        sentences.append(
            f"They look like {audit.images:,} of {plural(audit.clusters, 'training picture')} (near-duplicates counted "
            f"once), nearer than the limit.{more if repeated else ''}"
        )
    else:
        sentences.append(
            "That none was found does not show that the model never draws a picture that is nearly the same as a "
            "training picture."
        )
    return sentences + _ablated(hits)


def hit_words(audit: MemorisationAudit, hit: Hit) -> str:
    """Return a hit in words; it is called a copy only where the share of mistakes is known."""
    link = "is nearest to" if audit.mistakes is None else "is called a copy of"
    return f"{hit.picture} {link} {hit.image} (distance {hit.closeness:.3f})"


def _rule(audit: MemorisationAudit, count: int) -> str:
    """What is found, and how often that is a mistake."""
    if audit.mistakes is None:
        return (
            "How often this test is wrong is not known: drawn pictures are found whose distance to a training picture "
            f"is below {audit.threshold:.3g}, the limit that the user chose."
        )
    expected = count * audit.mistakes
    number = f"{expected:.1g}" if expected < 1 else f"{expected:,.0f}"
    return (
        f"This test is sometimes wrong: of {plural(count, 'picture')} about {number} would be called a copy by mistake "
        f"({percent(audit.mistakes)}). A drawn picture is called a copy if it is nearer to one training picture than "
        f"{audit.chosen_by}."
    )


def _found(audit: MemorisationAudit, count: int) -> str:
    """How many were found, and the range of the share among all pictures that the model would draw."""
    found = len(audit.hits)
    what = "below the limit that the user chose"
    if audit.mistakes is not None:
        what = "called a copy" if found == 1 else "called copies"
    return (
        f"{found:,} of {plural(count, 'drawn picture')} {are(found)} {what}. Of all that the model would draw in this "
        f"way it is {probably(audit.rate)}."
    )


def _ablated(hits: Sequence[Hit]) -> list[str]:
    """What members drew that never saw the training picture."""
    known = [hit for hit in hits if not math.isnan(hit.without)]
    if not known:
        return []
    gone = sum(hit.without > np.nanmax([hit.before, hit.placebo]) for hit in known)
    return [
        f"{len(known):,} of them {'was' if len(known) == 1 else 'were'} drawn again by members that never saw the "
        f"training picture: {gone:,} of these {are(gone)} then farther from it than before, and than what as many "
        "other members draw."
    ]
