"""The sentences of certificates and proofs. They are functions of the other fields, so the two can't differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whence.proof.certificate import Certificate

#: Largest difference, in grey levels of 255, between a picture and the one drawn again on another machine.
BOUND = 1

PROVEN = (
    "With the root hash alone: when it was published, the holder had committed to these members (weights, settings, "
    "seeds and records by hash), to these code words and images of the units, and these members are all those whose "
    "bit is 0 for every one of the units.",
    "With the run directory too: its files are those of the root; in the records of these members no batch of any "
    "training step holds an image of the units; and these members draw this picture from the noise of its name, bit "
    f"for bit on a machine like the one that drew it, within {BOUND} of 255 grey levels per pixel on any other.",
    "For a member that is retrained (--retrain-one): these weights are what its record says, so that they can't have "
    "been trained on anything else, where they come out the same to the last bit.",
)


def statement(certificate: Certificate) -> str:
    """The claim in one sentence, from the other fields of a certificate."""
    ids = {id for unit in certificate.units for id in unit.ids}
    units = ", ".join(repr(unit.unit) for unit in certificate.units)
    members = ", ".join(map(str, certificate.members))
    return (
        f"Picture {certificate.sample} of the ensemble {certificate.root_of.ensemble[:12]}, drawn again from its own "
        f"noise by member(s) {members} of {len(certificate.units[0].word)}, of which none was trained on any of the "
        f"{len(ids)} training image(s) of the unit(s) {units}."
    )


def not_proven(certificate: Certificate) -> tuple[str, ...]:
    """The sentences about what a certificate does not show, although a reader might think so."""
    identical = {duplicate.id for duplicate in certificate.near if duplicate.identical}
    distances = [duplicate.distance for duplicate in certificate.near]
    nearest = f"; the nearest is at distance {min(distances):.3f} (pixels in [0, 1])" if distances else ""
    return (
        "That the members were trained as their records say: the records are the holder's word, except for a member "
        "that the verifier retrains.",
        "Anything about other models: it speaks of this ensemble and this picture.",
        "That nothing like the units' images was seen. Near-duplicates that belong to other units remain; those "
        f"nearest are listed under `near`, {len(identical)} of them identical to the last pixel{nearest}.",
        "That all images of a person, artist or owner are in the units: units are as the holder declared them.",
        "Anything at all against a holder who publishes the root only afterwards: compare with a root hash that was "
        "published before, by another way than this file.",
    )


def image_statement(kind: str, root: str, fingerprint: str, leaves: int) -> str:
    """The claim of a proof about one image."""
    verb = "is" if kind == "membership" else "is not"
    return (
        f"The image whose pixels have the SHA-256 {fingerprint[:12]} {verb} among the {leaves:,} training images of "
        f"the root {root[:12]}. This is about exactly these pixels: a copy that was cropped, scaled or compressed "
        "again is another image."
    )
