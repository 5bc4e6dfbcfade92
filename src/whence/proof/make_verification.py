"""Verifying certificates and proofs: against a root hash, and against the run directory."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError
from whence.proof import document_checks, repetition, run_checks
from whence.proof.adapter_certificate import AdapterCertificate
from whence.proof.certificate import Certificate, PictureCertificate, PromptCertificate
from whence.proof.document import parse, read_text
from whence.proof.image_proof import Absence, ImageProof, Membership
from whence.proof.relative_certificate import RelativeCertificate
from whence.proof.root import EnsembleTrees
from whence.proof.survivor_certificate import SurvivorCertificate
from whence.proof.verification import Step, Verification

Proof = Certificate | PromptCertificate | AdapterCertificate | Membership | Absence
_PROOF: TypeAdapter[Proof] = TypeAdapter(Annotated[Proof, Field(discriminator="kind")])


def read_proof(path: str | Path) -> Proof:
    """Return the certificate or proof in a file; only its form is checked. A ProofError if the file holds neither."""
    return parse_proof(read_text(Path(path)), str(path))


def parse_proof(text: str, name: str = "the document") -> Proof:
    """Return the certificate or proof in a JSON text, or raise ProofError if it is neither."""
    return parse(text, _PROOF, name)


def verify(
    proof: Proof | str | Path,
    *,
    run: str | Path | None = None,
    root: str | None = None,
    retrain_one: bool = False,
    member: int | None = None,
    image: str | Path | np.ndarray | None = None,
    file: str | Path | None = None,
    engine: Engine = DEFAULT,
) -> Verification:
    """Check a certificate or a proof about one image, as far as the arguments allow.

    Args:
        proof: The document or its file.
        run: The run directory of the ensemble. Its files, records and data are checked, and the picture is drawn again,
            or the adapter made again.
        root: The root hash that the holder published, from another source than the document.
        retrain_one: Train one of the members again, chosen at random.
        member: Train this member again.
        image: For a proof about an image: the file or uint8 pixels [C, H, W] that it must be about.
        file: For the certificate of an adapter: the LoRA file that it must be about.
        engine: Where work runs. Its report is called with (done, total) while a picture is drawn or a member trained.

    Returns:
        Every check with its finding, and the verdict.

    Raises:
        ProofError: The file is missing, or is no certificate or proof.
        ConfigError: The root is no hash, or an option doesn't belong to this kind of document.
    """
    if root is not None and not re.fullmatch("[0-9a-f]{64}", root):
        raise ConfigError(f"A root is 64 hexadecimal digits, as `whence ensemble root` prints them; given {root!r}.")
    if isinstance(proof, str | Path):
        proof = read_proof(proof)
    result, file = Verification(statement=proof.statement), None if file is None else Path(file)
    if file is not None and not isinstance(proof, AdapterCertificate):
        raise ConfigError("--file belongs to the certificate of an adapter; this is another document.")
    if isinstance(proof, ImageProof):
        if retrain_one or member is not None:
            raise ConfigError("Only members of a certificate can be retrained; this is a proof about one image.")
        _check_document(result, proof, root, _image_steps(proof, image))
        if image is None:
            result.skip("image", "without --image, which picture has this fingerprint is not checked")
        if run is not None:
            result.stage([("run", lambda: _run_finding(run_checks.open_run(Path(run), proof.root_of)))])
        return result
    result.not_proven = proof.not_proven
    if image is not None:
        raise ConfigError("--image belongs to a proof about one image; this is a certificate.")
    retrained = _retrained_member(proof, run, retrain_one, member)
    _check_document(result, proof, root, _certificate_steps(proof, file))
    if isinstance(proof, AdapterCertificate) and file is None:
        result.skip("file", "without --file, no file is compared with what is stated")
    _check_run(result, proof, run, retrained, file, engine)
    return result


def _check_document(result: Verification, proof: Proof, root: str | None, steps: Sequence[Step]) -> None:
    """Carry out all checks that need no run in one stage, because together the failures show best what was changed."""
    published = [("published root", partial(proof.require_published, root))] if root is not None else []
    if root is None:
        result.skip("published root", "without --root, nothing ties this to what was published before")
    first: list[Step] = [("parts of the root", proof.require_root), *published]
    result.stage([*first, *steps, ("document", proof.require_unchanged)])


def _image_steps(proof: Membership | Absence, image: str | Path | np.ndarray | None) -> list[Step]:
    steps = [] if image is None else [("image", partial(proof.require_image, image))]
    return [(proof.kind, proof.require), *steps, ("words", proof.require_words)]


def _certificate_steps(proof: SurvivorCertificate, file: Path | None) -> list[Step]:
    """The checks of a certificate that need no run directory."""
    steps: list[Step] = [("members", partial(document_checks.require_members, proof))]
    if isinstance(proof, RelativeCertificate):
        steps.append(("base", partial(document_checks.require_base, proof)))
    steps.append(("units", partial(document_checks.require_units, proof)))
    steps.append(("survivors", partial(document_checks.require_survivors, proof)))
    if isinstance(proof, PictureCertificate):
        steps.append(("picture", partial(document_checks.require_picture, proof)))
    if isinstance(proof, AdapterCertificate):
        steps.append(("tensors", proof.require_tensors))
        steps += [] if file is None else [("file", partial(proof.require_file, file))]
    steps.append(("near-duplicates", partial(document_checks.require_near_duplicates, proof)))
    return [*steps, ("words", partial(document_checks.require_words, proof))]


def _retrained_member(
    certificate: SurvivorCertificate, run: str | Path | None, retrain_one: bool, member: int | None
) -> int | None:
    """The member to retrain, if any: the given one, or one that nobody could foresee."""
    if not retrain_one and member is None:
        return None
    if run is None:
        raise ConfigError("To retrain a member, give the run directory with --run.")
    if member is None:
        return secrets.choice(certificate.members)
    if member not in certificate.members:
        raise ConfigError(
            f"Member {member} did not make the {certificate.subject}; those that did are {certificate.members}."
        )
    return member


def _check_run(
    result: Verification,
    certificate: SurvivorCertificate,
    run: str | Path | None,
    retrained: int | None,
    file: Path | None,
    engine: Engine,
) -> None:
    if run is None:
        result.skip("run", f"without --run, neither files, records and data nor {certificate.work} are checked")
        return
    opened: list[EnsembleTrees] = []

    def open_once() -> str:
        opened.append(run_checks.open_run(Path(run), certificate.root_of))
        return _run_finding(opened[0])

    result.stage([("run", open_once)])
    result.stage(_run_steps(certificate, opened, retrained, file, engine))
    if retrained is None:
        result.skip("retraining", "without --retrain-one, the records are the holder's word")


def _run_steps(
    certificate: SurvivorCertificate,
    opened: Sequence[EnsembleTrees],
    retrained: int | None,
    file: Path | None,
    engine: Engine,
) -> list[Step]:
    """The checks of a certificate that need the run directory, which is opened before the first of them."""
    steps: list[Step] = [("records", lambda: run_checks.require_records(certificate, opened[0]))]
    if isinstance(certificate, RelativeCertificate):
        steps.append(("base of the run", lambda: run_checks.require_base(certificate, opened[0])))
    steps.append(("remaining near-duplicates", lambda: run_checks.require_all_near_duplicates(certificate, opened[0])))
    if isinstance(certificate, PictureCertificate):
        steps.append(
            ("picture drawn again", lambda: repetition.require_redrawn(certificate, opened[0].ensemble, engine))
        )
    if isinstance(certificate, AdapterCertificate):
        steps.append(("file made again", lambda: repetition.require_remade(certificate, opened[0].ensemble, file)))
    if retrained is not None:
        steps.append(("retraining", lambda: run_checks.require_retrained(opened[0], retrained, engine)))
    return steps


def _run_finding(trees: EnsembleTrees) -> str:
    members = trees.ensemble.codebook.members
    return f"every file of {members} members is as sealed, and {len(trees.data):,} images give the same root"
