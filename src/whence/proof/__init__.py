"""Certificates and proofs: what anyone can check of an ensemble whose root hash was published.

document, root                      strict JSON; Merkle trees, and the hash that is published
certificate, make_certificate       a picture without some units, and its sentences
image_proof                         an image is, or is not, among the training images
document_checks, run_checks, verification     what is checked, and the verdict
"""

from whence.proof.certificate import Certificate
from whence.proof.image_proof import Absence, Membership, prove
from whence.proof.make_certificate import certify
from whence.proof.root import Root, commit
from whence.proof.verification import Check, Verification, parse_proof, read_proof, verify

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
