"""Names of contributors that look the same, or nearly, and so may be one contributor's."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: Letters of other alphabets that look like Latin ones.
_LIKE = str.maketrans("аеорсухіјѕԁһвкмнтгοναιρτυχκ", "aeopcyxijsdhbkmhtrovaiptuxk")


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of names that differ only in case, accents, spaces, punctuation or letters that look alike.

    Example:
        >>> look_alikes(["José Li", "Jose-Li", "jose li", "Ana"])
        [('José Li', 'Jose-Li', 'jose li')]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_skeleton(name), []).append(name)
    return [tuple(group) for skeleton, group in groups.items() if skeleton and len(group) > 1]


def _skeleton(name: str) -> str:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(c for c in folded.translate(_LIKE) if c.isalnum())
