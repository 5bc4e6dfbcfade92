"""Seeds made from seeds."""

from __future__ import annotations

import hashlib


def derived_seed(seed: int, purpose: str) -> int:
    """Return a 31-bit seed for one purpose.

    Example:
        >>> derived_seed(0, "member 1") == derived_seed(0, "member 1") != derived_seed(0, "member 2")
        True
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{purpose}".encode(), digest_size=4).digest()) >> 1
