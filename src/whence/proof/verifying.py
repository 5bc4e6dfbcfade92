"""Verifying certificates and proofs: against a root hash, and against the run directory."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from whence.engine import Report, silent
from whence.errors import ConfigError
from whence.proof import offline
from whence.proof.certificate import Certificate
from whence.proof.documents import parse, read_text
from whence.proof.image import Absence, Membership
from whence.proof.retrain import choose_member, require_retrained
from whence.proof.root import Committed
from whence.proof.run import open_run, require_near_list, require_records, require_redrawn
from whence.proof.verification import Step, Verification

Proof = Certificate | Membership | Absence
_PROOF: TypeAdapter[Proof] = TypeAdapter(Annotated[Proof, Field(discriminator="kind")])


def read_proof(path: str | Path) -> Proof:
    """Return the certificate or proof in a file, its form checked and nothing else.

    Raises:
        ProofError: The file is missing or is none.
    """
    return parse_proof(read_text(Path(path)), str(path))


def parse_proof(text: str, name: str = "the document") -> Proof:
    """Return the certificate or proof in a JSON text.

    Raises:
        ProofError: It is none.
    """
    return parse(text, _PROOF, name)


def verify(
    proof: Proof | str | Path,
    *,
    run: str | Path | None = None,
    root: str | None = None,
    retrain_one: bool = False,
    member: int | None = None,
    image: str | Path | np.ndarray | None = None,
    report: Report = silent,
) -> Verification:
    """Check a certificate or a proof about one image, as far as what is given allows.

    Args:
        proof: The document or its file.
        run: The run directory of the ensemble: its files, records and data are checked and the picture is drawn again.
        root: The root hash that the holder published, from another source than the document.
        retrain_one: Train one of the members again, chosen at random.
        member: Train this one again.
        image: For a proof about an image: the file or uint8 pixels [C, H, W] that it should be about.
        report: Called with (done, total) while a picture is drawn or a member trained.

    Returns:
        Every check with what it found, and the verdict.

    Raises:
        ProofError: The file is missing, or is no certificate or proof.
        ConfigError: The root is no hash, or an option doesn't belong to this kind of document.
    """
    if root is not None and not re.fullmatch("[0-9a-f]{64}", root):
        raise ConfigError(f"A root is 64 hexadecimal digits, as `whence ensemble root` prints them; given {root!r}.")
    if not isinstance(proof, Proof):
        proof = read_proof(proof)
    result = Verification(statement=proof.statement)
    if isinstance(proof, Certificate):
        result.not_proven = proof.not_proven
        if image is not None:
            raise ConfigError("--image belongs to a proof about one image; this is a certificate.")
        chosen = _chosen(proof, run, retrain_one, member)
        _check(result, proof, root, _certificate_steps(proof))
        _check_run(result, proof, run, chosen, report)
    else:
        if retrain_one or member is not None:
            raise ConfigError("Only members of a certificate can be retrained; this is a proof about one image.")
        _check(result, proof, root, _image_steps(proof, image))
        if image is None:
            result.skip("image", "without --image, which picture has this fingerprint is not checked")
        if run is not None:
            result.stage([("run", lambda: _opened(open_run(Path(run), proof.root_of)))])
    return result


def _check(result: Verification, proof: Proof, root: str | None, steps: list[Step]) -> None:
    """What needs no run, all of it: together the failures say best what was changed."""
    published = [("published root", partial(proof.require_published, root))] if root is not None else []
    if root is None:
        result.skip("published root", "without --root, nothing ties this to what was published before")
    first: list[Step] = [("parts of the root", proof.require_root), *published]
    result.stage([*first, *steps, ("document", proof.require_unchanged)])


def _certificate_steps(certificate: Certificate) -> list[Step]:
    return [
        ("members", partial(offline.require_members, certificate)),
        ("units", partial(offline.require_units, certificate)),
        ("survivors", partial(offline.require_survivors, certificate)),
        ("picture", partial(offline.require_picture, certificate)),
        ("near-duplicates", partial(offline.require_near, certificate)),
        ("words", partial(offline.require_words, certificate)),
    ]


def _image_steps(proof: Membership | Absence, image: str | Path | np.ndarray | None) -> list[Step]:
    given = [] if image is None else [("image", partial(proof.require_image, image))]
    return [(proof.kind, proof.require), *given, ("words", proof.require_words)]


def _chosen(certificate: Certificate, run: str | Path | None, retrain_one: bool, member: int | None) -> int | None:
    """The member to retrain, if one is to be."""
    if not retrain_one and member is None:
        return None
    if run is None:
        raise ConfigError("To retrain a member, give the run directory with --run.")
    return choose_member(certificate, member)


def _check_run(
    result: Verification, certificate: Certificate, run: str | Path | None, chosen: int | None, report: Report
) -> None:
    if run is None:
        result.skip("run", "without --run, neither files, records and data nor the drawing of the picture are checked")
        return
    opened: list[Committed] = []

    def open_it() -> str:
        opened.append(open_run(Path(run), certificate.root_of))
        return _opened(opened[0])

    result.stage([("run", open_it)])
    steps: list[Step] = [
        ("records", lambda: require_records(certificate, opened[0])),
        ("remaining near-duplicates", lambda: require_near_list(certificate, opened[0])),
        ("picture drawn again", lambda: require_redrawn(certificate, opened[0].ensemble, report)),
    ]
    if chosen is not None:
        steps.append(("retraining", lambda: require_retrained(opened[0], chosen, report)))
    result.stage(steps)
    if chosen is None:
        result.skip("retraining", "without --retrain-one, the records are the holder's word")


def _opened(committed: Committed) -> str:
    members = committed.ensemble.codebook.members
    return f"every file of {members} members is as sealed, and {len(committed.data):,} images give the same root"
