"""Verifying certificates and proofs: against a root hash, and against the run directory."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from whence.engine import DEFAULT, Engine
from whence.errors import ConfigError, WhenceError
from whence.proof import document_checks, run_checks
from whence.proof.certificate import Certificate
from whence.proof.document import parse, read_text
from whence.proof.image_proof import Absence, Membership
from whence.proof.root import EnsembleTrees

Proof = Certificate | Membership | Absence
_PROOF: TypeAdapter[Proof] = TypeAdapter(Annotated[Proof, Field(discriminator="kind")])

#: The checks of a certificate that need no run directory, by name.
CERTIFICATE_CHECKS = {
    "members": document_checks.require_members,
    "units": document_checks.require_units,
    "survivors": document_checks.require_survivors,
    "picture": document_checks.require_picture,
    "near-duplicates": document_checks.require_near_duplicates,
    "words": document_checks.require_words,
}
#: Name of a check, and the function that returns its finding or raises why the check fails.
Step = tuple[str, Callable[[], str]]


@dataclass(frozen=True)
class Check:
    """One check: what was checked, whether it holds (None: it was not checked), and the finding, or why not checked."""

    name: str
    ok: bool | None
    detail: str

    def __str__(self) -> str:
        """One line."""
        mark = {True: "ok         ", False: "FAILED     ", None: "not checked"}[self.ok]
        return f"{mark}  {self.name}: {self.detail}"


@dataclass
class Verification:
    """All checks of a document, in order.

    Attributes:
        checks: The checks.
        statement: The statement of the document.
        not_proven: What the document does not show, even if every check holds.

    Example:
        >>> verification = Verification()
        >>> verification.stage([("sum", lambda: "1 + 1 is 2")])
        >>> verification.skip("run", "without --run")
        >>> verification.ok, verification.verdict
        (True, 'VERIFIED, except for what was not checked: run')
    """

    checks: list[Check] = field(default_factory=list)
    statement: str = ""
    not_proven: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.ok is not False for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why the document was refused."""
        return [check.detail for check in self.checks if check.ok is False]

    @property
    def verdict(self) -> str:
        """VERIFIED, with the names of what was not checked, or REFUSED, with the first reason."""
        if not self.ok:
            return f"REFUSED: {self.reasons[0]}"
        unchecked = [check.name for check in self.checks if check.ok is None]
        return "VERIFIED" + (f", except for what was not checked: {'; '.join(unchecked)}" if unchecked else "")

    def stage(self, steps: Sequence[Step]) -> None:
        """Carry out checks that don't depend on each other, but rely on earlier ones: none of those may have failed."""
        if self.ok:
            self.checks += [Check(name, *_outcome(step)) for name, step in steps]
        else:
            self.checks += [Check(name, None, "a check before this one failed") for name, _ in steps]

    def skip(self, name: str, why: str) -> None:
        """Note that something was not checked."""
        self.checks.append(Check(name, None, why))


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
    engine: Engine = DEFAULT,
) -> Verification:
    """Check a certificate or a proof about one image, as far as the arguments allow.

    Args:
        proof: The document or its file.
        run: The run directory of the ensemble. Its files, records and data are checked, and the picture is drawn again.
        root: The root hash that the holder published, from another source than the document.
        retrain_one: Train one of the members again, chosen at random.
        member: Train this member again.
        image: For a proof about an image: the file or uint8 pixels [C, H, W] that it must be about.
        engine: Where work runs. Its report is called with (done, total) while a picture is drawn or a member trained.

    Returns:
        Every check with its finding, and the verdict.

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
        retrained = _retrained_member(proof, run, retrain_one, member)
        steps = [(name, partial(check, proof)) for name, check in CERTIFICATE_CHECKS.items()]
        _check_document(result, proof, root, steps)
        _check_run(result, proof, run, retrained, engine)
    else:
        if retrain_one or member is not None:
            raise ConfigError("Only members of a certificate can be retrained; this is a proof about one image.")
        _check_document(result, proof, root, _image_steps(proof, image))
        if image is None:
            result.skip("image", "without --image, which picture has this fingerprint is not checked")
        if run is not None:
            result.stage([("run", lambda: _run_finding(run_checks.open_run(Path(run), proof.root_of)))])
    return result


def _outcome(step: Callable[[], str]) -> tuple[bool, str]:
    """Whether a check holds, and its finding. Any error that a stranger's file causes is a refusal."""
    try:
        return True, step()
    except WhenceError as error:
        return False, str(error)
    except Exception as error:
        return False, f"this could not be checked ({type(error).__name__}: {error})"


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


def _retrained_member(
    certificate: Certificate, run: str | Path | None, retrain_one: bool, member: int | None
) -> int | None:
    """The member to retrain, if any: the given one, or one that nobody could foresee."""
    if not retrain_one and member is None:
        return None
    if run is None:
        raise ConfigError("To retrain a member, give the run directory with --run.")
    if member is None:
        return secrets.choice(certificate.members)
    if member not in certificate.members:
        raise ConfigError(f"Member {member} did not draw the picture; those that did are {certificate.members}.")
    return member


def _check_run(
    result: Verification, certificate: Certificate, run: str | Path | None, retrained: int | None, engine: Engine
) -> None:
    if run is None:
        result.skip("run", "without --run, neither files, records and data nor the drawing of the picture are checked")
        return
    opened: list[EnsembleTrees] = []

    def open_once() -> str:
        opened.append(run_checks.open_run(Path(run), certificate.root_of))
        return _run_finding(opened[0])

    result.stage([("run", open_once)])
    steps: list[Step] = [
        ("records", lambda: run_checks.require_records(certificate, opened[0])),
        ("remaining near-duplicates", lambda: run_checks.require_all_near_duplicates(certificate, opened[0])),
        ("picture drawn again", lambda: run_checks.require_redrawn(certificate, opened[0].ensemble, engine)),
    ]
    if retrained is not None:
        steps.append(("retraining", lambda: run_checks.require_retrained(opened[0], retrained, engine)))
    result.stage(steps)
    if retrained is None:
        result.skip("retraining", "without --retrain-one, the records are the holder's word")


def _run_finding(trees: EnsembleTrees) -> str:
    members = trees.ensemble.codebook.members
    return f"every file of {members} members is as sealed, and {len(trees.data):,} images give the same root"
