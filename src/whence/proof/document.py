"""Strict documents: JSON in which every field is checked, or which is refused.

Every document states its own fingerprint, so that a change is noticed. Anyone can still seal another document; only a
root hash from another source shows that.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from whence import artefacts
from whence.errors import ProofError

#: Larger files are not read.
MAX_BYTES = 256 * 2**20

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]

D = TypeVar("D")


class StrictModel(BaseModel):
    """Base of everything in a document: frozen, without unknown fields and without conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Document(StrictModel):
    """A document that states its own fingerprint, the SHA-256 (hex) of the canonical JSON of all other fields.

    A ``require...`` method returns its finding in words, or raises ProofError if the check fails.
    """

    fingerprint: Hash

    @classmethod
    def sealed(cls, **fields: Any) -> Self:
        """The document with these fields and its fingerprint."""
        draft = cls(fingerprint="0" * 64, **fields)
        return draft.model_copy(update={"fingerprint": draft.content_fingerprint()})

    def content_fingerprint(self) -> str:
        """SHA-256 (hex) of all fields but `fingerprint`."""
        return artefacts.digest(self.model_dump(mode="json", exclude={"fingerprint"}))

    def require_unchanged(self) -> str:
        """Check that the content has the stated fingerprint."""
        fingerprint = self.content_fingerprint()
        if fingerprint != self.fingerprint:
            raise ProofError(
                f"The content has the fingerprint {fingerprint}, stated is {self.fingerprint}: it was changed later."
            )
        return f"unchanged, fingerprint {fingerprint}"

    def write(self, path: Path) -> None:
        """Write it as a JSON file, whole or not at all."""
        artefacts.write_json(path, self.model_dump(mode="json"))


def read_text(path: Path) -> str:
    """Return the content of a document's file, or raise ProofError if it is missing, too large or not text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ProofError(f"{path} is larger than {MAX_BYTES >> 20} MiB: no certificate or proof.")
        return path.read_text("utf-8")
    except OSError as error:
        raise ProofError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ProofError(f"{path} is not text in UTF-8: {error}.") from None


def parse(text: str, kind: TypeAdapter[D], name: str = "the document") -> D:
    """Return the document in a JSON text, of one of the types in `kind`, every field checked; messages call it `name`.

    Raises:
        ProofError: It is not JSON, uses a key twice, has a number that is not finite, or a field is missing, unknown or
            of the wrong type. The message names the first such field.

    Example:
        >>> parse('[1, 2]', TypeAdapter(list[int]))
        [1, 2]
    """
    try:
        json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_number, parse_float=_finite)
        return kind.validate_json(text, strict=True)
    except ValidationError as error:
        raise ProofError(f"{name} is malformed: {_first_problem(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise ProofError(f"{name} is not JSON as it should be: {error}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ProofError(f"The key {next(name for name in names if names.count(name) > 1)!r} is there twice.")
    return values


def _refuse_number(text: str) -> NoReturn:
    raise ProofError(f"{text} is not a number that a document may hold.")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text[:20])


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    place = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place or 'the whole'}: {problems[0]['msg']}{more}"
