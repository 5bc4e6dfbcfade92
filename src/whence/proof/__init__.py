"""Certificates and proofs: what anyone can check of an ensemble whose root hash was published."""

from whence.proof.certificate import Certificate
from whence.proof.certifying import certify
from whence.proof.image import Absence, Membership, prove
from whence.proof.root import Root, commit
from whence.proof.verification import Check, Verification
from whence.proof.verifying import parse_proof, read_proof, verify

__all__ = [
    "Absence",
    "Certificate",
    "Check",
    "Membership",
    "Root",
    "Verification",
    "certify",
    "commit",
    "parse_proof",
    "prove",
    "read_proof",
    "verify",
]
