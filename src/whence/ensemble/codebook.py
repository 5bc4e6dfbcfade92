"""The codebook of an encoded ensemble: which member may see which unit (Dai & Gifford 2023).

Every unit has a code word of M bits, of which w are set; no two units have the same word. Member m trains on an example
only if the bits of all the example's units are set in row m. The members whose bit is 0 for a unit have never seen it:
they survive its ablation.

An ablation changes a picture for two reasons: the unit is gone, and fewer members are averaged. Units got their words
at random. So a *placebo*, the ablation of a word that no unit has, with as many survivors, shows the second effect
alone, and a unit that does not matter has an effect like that.
"""

from __future__ import annotations

import difflib
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.data import Dataset
from whence.errors import ArtefactError, ConfigError, DataError, NoSurvivorsError

#: The search for placebos ends after so many tries without a new one, or after so many times the number of code words.
PATIENCE, ROUNDS, LARGE = 20_000, 16, 2**20
#: Messages list all units where there are so many or fewer.
LISTED = 20


@dataclass(frozen=True)
class Codebook:
    """Code words of all units.

    Attributes:
        bits: Whether member m may see unit u, bool [M, U].
        units: Unit ids, U of them.
        seed: The seed that the words were drawn with.

    Example:
        >>> book = Codebook.random(("ann", "bob", "cy"), members=4, seed=0)
        >>> book.bits.sum(axis=0).tolist()
        [2, 2, 2]
        >>> sorted([*book.survivors(["ann"]), *book.survivors(["ann"], keep_only=True)])
        [0, 1, 2, 3]
    """

    bits: np.ndarray
    units: tuple[str, ...]
    seed: int

    @classmethod
    def random(cls, units: Sequence[str], members: int, seed: int, weight: int | None = None) -> Codebook:
        """Return a codebook of random code words, no two the same, with `weight` bits set; by default half of them.

        Raises:
            ConfigError: `members` is below 2 or odd without a weight, the weight leaves nobody on one side, or there
                are fewer code words than units.
        """
        half = weight is None
        if members < 2 or (half and members % 2):
            raise ConfigError(f"An ensemble needs an even number of members, at least 2; given {members}.")
        weight = members // 2 if weight is None else weight
        if not 0 < weight < members:
            raise ConfigError(f"--weight must be from 1 to {members - 1}: some members see a unit, some don't.")
        capacity = math.comb(members, weight)
        if capacity < len(units):
            larger = itertools.count(members, 2 if half else 1)
            enough = next(m for m in larger if math.comb(m, m // 2 if half else weight) >= len(units))
            raise ConfigError(
                f"{members} members have {capacity:,} code words of weight {weight}, too few for {len(units):,} units. "
                f"Use at least {enough} members (--members {enough}), or larger units (--unit-column)."
            )
        words: dict[tuple[int, ...], None] = {}
        for word in random_words(members, weight, seed):
            words[word] = None
            if len(words) == len(units):
                break
        bits = np.zeros((members, len(units)), bool)
        for u, word in enumerate(words):
            bits[list(word), u] = True
        return cls(bits, tuple(units), seed)

    @property
    def members(self) -> int:
        """Number M of members."""
        return len(self.bits)

    @property
    def weight(self) -> int:
        """Bits set in each code word, w."""
        return int(self.bits[:, 0].sum())

    @cached_property
    def _column(self) -> dict[str, int]:
        return {unit: u for u, unit in enumerate(self.units)}

    @cached_property
    def words(self) -> set[tuple[int, ...]]:
        """The code words that units have, as tuples of the members whose bit is set."""
        return {tuple(np.flatnonzero(column).tolist()) for column in self.bits.T}

    def columns(self, units: Sequence[str]) -> list[int]:
        """Return the columns of the units.

        Raises:
            DataError: A unit is not in the codebook, or none is given.
        """
        unknown = [unit for unit in units if unit not in self._column]
        if unknown or not units:
            raise DataError(self._unknown(unknown[0]) if unknown else "No unit is given.")
        return sorted(self._column[unit] for unit in dict.fromkeys(units))

    def _unknown(self, unit: str) -> str:
        """A message that names the units there are, or those that are spelt alike where there are many."""
        close = difflib.get_close_matches(str(unit), self.units, n=3) or self.units[:3]
        alike = f"such as {', '.join(close)}" if len(self.units) > LISTED else ", ".join(sorted(self.units))
        return f"There is no unit {unit!r} in the training data. It has {len(self.units):,} units: {alike}."

    def in_order(self, units: Sequence[str]) -> list[str]:
        """Return the units in the order of the codebook, without repeats, so that a set of units has one name."""
        return [self.units[u] for u in self.columns(units)]

    def survivors(self, units: Sequence[str], *, keep_only: bool = False) -> list[int]:
        """Return the members that never saw any of the units; with `keep_only`, those that saw all of them.

        Raises:
            DataError: A unit is unknown.
            NoSurvivorsError: There is no such member.
        """
        columns = self.columns(units)
        survivors = np.flatnonzero((self.bits[:, columns] == keep_only).all(axis=1)).tolist()
        if not survivors:
            named = ", ".join(map(repr, dict.fromkeys(units)))
            saw = "saw all of" if keep_only else "never saw any of"
            raise NoSurvivorsError(
                f"None of the {self.members} members {saw} the units {named}. Each further unit halves the members "
                f"that are left on average, so about {max(1, int(math.log2(self.members)) - 1)} units at once are safe "
                "here. Ablate fewer units together, make them one unit (--unit-column) or train more members."
            )
        return survivors

    def examples(self, member: int, data: Dataset) -> np.ndarray:
        """Return the indices of the examples that a member trains on: those with the bits of all their units set.

        Raises:
            ConfigError: The member would have nothing to train on.
        """
        bits = self.bits[member]
        rows = [n for n, units in enumerate(data.units) if all(bits[u] for u in self.columns(units))]
        if not rows:
            raise ConfigError(
                f"Member {member} would train on nothing: {len(self.units)} unit(s) are too few for {self.members} "
                "members. Use more and smaller units, of which there must be at least two; with few of them, fewer "
                "members or another --codebook-seed may do."
            )
        return np.array(rows)

    def write(self, path: Path, data_fingerprint: str) -> None:
        """Write the codebook as an artefact, or check that it is there already."""

        def build(part: Path) -> None:
            artefacts.write_tensors(part / "codebook.safetensors", {"bits": artefacts.to_tensor(self.bits)})
            artefacts.write_table(part / "units.parquet", {"unit": list(self.units)})

        made = {"members": self.members, "weight": self.weight, "seed": self.seed}
        artefacts.ensure(path, "codebook", inputs={"data": data_fingerprint}, made=made, build=build)

    @classmethod
    @artefacts.reader
    def read(cls, path: Path) -> Codebook:
        """Return the codebook that was written to a path.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        manifest = artefacts.read_verified(path, "codebook")
        bits = artefacts.read_arrays(path / "codebook.safetensors")["bits"]
        units = tuple(artefacts.read_table(path / "units.parquet")["unit"])
        if bits.shape != (manifest.made["members"], len(units)):
            raise ArtefactError(f"{path} is damaged: bits {bits.shape} for {len(units)} units.")
        return cls(bits, units, manifest.made["seed"])


def random_words(members: int, weight: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Yield random code words as sorted tuples of the members whose bit is set; a word may come more than once."""
    source = random.Random(f"code words {seed}")
    while True:
        yield tuple(sorted(source.sample(range(members), weight)))


def placebos(
    book: Codebook, removed: int, left: int, seed: int, *, keep_only: bool = False
) -> Iterator[tuple[int, ...]]:
    """Yield sets of `left` members that are left when `removed` code words of no unit are ablated; no set comes twice.

    Members ascend; with `keep_only` they are those with the bits set. It ends when no placebo is left or many tries
    find no new one. `seed` gives the order: the first placebos don't depend on how many are taken.

    Example:
        >>> book = Codebook.random(("ann", "bob", "cy"), members=4, seed=0)
        >>> left = sorted(placebos(book, 1, 2, seed=0))
        >>> len(left), any(list(members) == book.survivors([unit]) for members in left for unit in book.units)
        (3, False)
    """
    known: set[tuple[int, ...]] = set()
    patience = max(PATIENCE, ROUNDS * min(math.comb(book.members, book.weight), LARGE))
    words, group, tries = random_words(book.members, book.weight, seed), set[tuple[int, ...]](), 0
    most = math.comb(book.members, left) - (len(book.words) if removed == 1 else 0)
    while tries < patience and len(known) < most:
        tries += 1
        word = next(words)
        if word in book.words:
            continue
        group.add(word)
        if len(group) < removed:
            continue
        chosen = set.intersection(*map(set, group)) if keep_only else set(range(book.members)).difference(*group)
        survivors, group = tuple(sorted(chosen)), set()
        if len(survivors) == left and survivors not in known:
            known.add(survivors)
            tries = 0
            yield survivors


def placebo(
    book: Codebook, removed: int, survivors: Sequence[int], seed: int, *, keep_only: bool = False
) -> list[int] | None:
    """Return other members, as many as an ablation of `removed` units leaves; None if units have all code words."""
    others = placebos(book, removed, len(survivors), seed, keep_only=keep_only)
    return next((list(members) for members in others if members != tuple(survivors)), None)
