"""Artefacts: directories that are whole or do not exist. The only room that reads and writes their files."""

from whence.artefacts.artefact import RESUME, create, discard, ensure, existing, reseal
from whence.artefacts.digest import digest, file_digest, tensor_digests
from whence.artefacts.files import (
    read_json,
    read_row,
    read_table,
    read_tensors,
    replacing,
    to_tensor,
    write_bytes,
    write_csv,
    write_json,
    write_table,
    write_tensors,
)
from whence.artefacts.lock import lock
from whence.artefacts.manifest import (
    MANIFEST,
    Manifest,
    environment,
    kind_of,
    of_kind,
    read_manifest,
    read_verified,
    require_part,
    verify,
    whole,
    write_manifest,
)
from whence.artefacts.state import read_state, write_state

__all__ = [
    "MANIFEST",
    "RESUME",
    "Manifest",
    "create",
    "digest",
    "discard",
    "ensure",
    "environment",
    "existing",
    "file_digest",
    "kind_of",
    "lock",
    "of_kind",
    "read_json",
    "read_manifest",
    "read_row",
    "read_state",
    "read_table",
    "read_tensors",
    "read_verified",
    "replacing",
    "require_part",
    "reseal",
    "tensor_digests",
    "to_tensor",
    "verify",
    "whole",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_manifest",
    "write_state",
    "write_table",
    "write_tensors",
]
