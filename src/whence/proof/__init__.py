"""Certificates and proofs: what anyone can check of an ensemble whose root hash was published.

document, root                      strict JSON; Merkle trees, and the hash that is published
survivor_certificate                what all certificates have in common: none of these members saw these units
certificate, adapter_certificate    a picture, or a LoRA file, without some units; make_certificate makes both
relative_certificate                what certificates of adapters have in common: they are relative to a base
image_proof                         an image is, or is not, among the training images
document_checks, run_checks, repetition     what is checked: of the document, of the run, by making it again
verification, make_verification     the findings and the verdict
"""

from whence.proof.adapter_certificate import AdapterCertificate
from whence.proof.certificate import Certificate, PromptCertificate
from whence.proof.image_proof import Absence, Membership, prove
from whence.proof.make_certificate import certify, certify_adapter
from whence.proof.make_verification import parse_proof, read_proof, verify
from whence.proof.root import Root, commit
from whence.proof.verification import Check, Verification

__all__ = [
    "Absence",
    "AdapterCertificate",
    "Certificate",
    "Check",
    "Membership",
    "PromptCertificate",
    "Root",
    "Verification",
    "certify",
    "certify_adapter",
    "commit",
    "parse_proof",
    "prove",
    "read_proof",
    "verify",
]
