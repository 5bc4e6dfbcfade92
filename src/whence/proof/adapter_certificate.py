"""Certificates of adapters: this LoRA file is the mean of members of which none was trained on these units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from safetensors.torch import load
from torch import Tensor

from whence import artefacts
from whence.errors import ProofError, join_names
from whence.proof.certificate import float_digest
from whence.proof.document import Count, Hash, StrictModel
from whence.proof.relative_certificate import RETRAINING, RelativeCertificate
from whence.proof.survivor_certificate import COMMITMENT

#: Largest ‖ΔW' - ΔW‖ / ‖ΔW‖ that counts as rounding, with ΔW of a file and ΔW' made again on another machine. It can
#: differ only where the file was cut to a rank; rounding to float32 makes it about 1e-7.
ROUNDING = 1e-5

PROVEN = (
    COMMITMENT,
    "With the file (--file): its bytes and its tensors are those that are stated, and it holds nothing else.",
    "With the run directory and the base too: their files are those of the root; in the records of these members no "
    "batch of any training step holds an image of the units; and the file is the mean of ΔW of these members, bit for "
    f"bit on a machine like the one that made it, within {ROUNDING:.0e} of ΔW on any other.",
    RETRAINING,
)
#: Ends of the names of A and B of a layer.
SIDES = (".lora_A.weight", ".lora_B.weight")


class AdapterTensor(StrictModel):
    """A tensor of the file: its size, and the SHA-256 (hex) of its float32 values, little-endian."""

    size: Annotated[tuple[Count, ...], Field(min_length=2)]
    floats: Hash

    @classmethod
    def of_each(cls, tensors: Mapping[str, Tensor]) -> dict[str, Self]:
        """The content of tensors float32, by name."""
        return {name: cls(size=tuple(one.shape), floats=float_digest(one)) for name, one in tensors.items()}


class AdapterCertificate(RelativeCertificate):
    """A statement about an adapter without some units, as `whence ensemble export --format lora --without` writes it.

    Attributes:
        file: SHA-256 (hex) of the bytes of the LoRA file.
        tensors: Its tensors by name.
        rank: The largest rank of a layer.
        error: What was cut to keep the rank, ‖ΔW' - mean ΔW‖ / ‖mean ΔW‖; 0 if the file is exact.
    """

    subject: ClassVar[str] = "file"
    work: ClassVar[str] = "the making of the file"
    kind: Literal["adapter-certificate"]
    file: Hash
    tensors: Annotated[Mapping[str, AdapterTensor], Field(min_length=1)]
    rank: Annotated[Count, Field(ge=1)]
    error: Annotated[float, Field(ge=0, le=1)]

    def claim(self) -> str:
        """Return the statement."""
        exactness = "exactly" if self.error == 0 else f"cut to rank {self.rank} with an error of {self.error:.2%}"
        return (
            f"The LoRA file with the SHA-256 {self.file[:12]} is the mean of ΔW, {exactness}, of these adapters of the "
            f"ensemble {self.root_of.ensemble[:12]}: {self.describe_members()}"
        )

    def reasons(self) -> tuple[str, ...]:
        """Return what a verifier can rely on."""
        return PROVEN

    def require_tensors(self) -> str:
        """Check that the tensors are A and B of each layer, of ranks that fit each other and the stated rank."""
        names = {name.removesuffix(side) for name in self.tensors for side in SIDES if name.endswith(side)}
        if {name + side for name in names for side in SIDES} != self.tensors.keys():
            raise ProofError("The tensors are not A and B of each layer.")
        ranks = [tuple(self.tensors[name + side].size[k] for k, side in enumerate(SIDES)) for name in names]
        if any(a != b for a, b in ranks) or max(a for a, _ in ranks) != self.rank:
            raise ProofError(f"The ranks of A and B don't fit each other, or the largest is not {self.rank}.")
        return f"A and B of {len(names)} layers, of rank {self.rank} at most"

    def require_file(self, file: Path) -> str:
        """Check that a file has the stated bytes and tensors, and a header that changes nothing."""
        try:
            content = file.read_bytes()
            tensors = load(content)
        except Exception as error:
            raise ProofError(f"{file} can't be read as a LoRA file: {error}.") from None
        there = AdapterTensor.of_each(tensors)
        others = sorted(name for name in {*there, *self.tensors} if there.get(name) != self.tensors.get(name))
        if others:
            raise ProofError(f"{file} has other tensors than those that are stated: {join_names(others)}.")
        if (digest := artefacts.digest(content)) != self.file:
            raise ProofError(
                f"{file} has the SHA-256 {digest}, stated is {self.file}: the same tensors in another file."
            )
        if _header(content) != {"format": "pt"}:
            raise ProofError(f"The header of {file} holds settings, which can change what other programs make of it.")
        return f"{file} has the stated bytes, SHA-256 {digest[:12]}, and {len(tensors)} tensors"


def _header(content: bytes) -> object:
    """The text in the header of a safetensors file."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__")
