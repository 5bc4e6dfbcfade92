"""Why not me? Where a contributor stands: its share, who is above it, and whether that is sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whence.credit.credit import LEVEL, Credit, Explained
from whence.errors import DataError, MismatchError
from whence.scores.scores import Scores

#: Contributors just above, and examples, that are listed.
ABOVE, EXAMPLES = 5, 5


@dataclass(frozen=True)
class Rival:
    """A contributor with a larger share.

    Attributes:
        unit: Its name.
        share: Its share.
        ahead: Its share minus that of the contributor who asks, at least 0.
        low: Lower end of the difference's 95% interval, from paired replicates; None where none is known.
        high: Upper end.
    """

    unit: str
    share: float
    ahead: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> bool | None:
        """Whether the interval of the difference lies above zero; None where no interval is known."""
        return None if self.low is None else self.low > 0


@dataclass(frozen=True)
class WhyNot:
    """Where a contributor stands in one behaviour.

    Attributes:
        unit: The contributor who asks.
        explained: The behaviour.
        estimator: The estimator of the shares.
        share: Its share, in the unit of the behaviour.
        low: Lower end of the share's 95% interval; None where none is known.
        high: Upper end.
        rank: 1 + how many have larger shares.
        of: How many contributors there are.
        above: Those just above, the nearest first; at most `ABOVE`.
        examples: Its examples with the largest scores for the picture, with their scores; empty without scores.
        method: The method of the scores; None without.
    """

    unit: str
    explained: Explained
    estimator: str
    share: float
    low: float | None
    high: float | None
    rank: int
    of: int
    above: tuple[Rival, ...]
    examples: tuple[tuple[str, float], ...]
    method: str | None

    @property
    def could_be_nothing(self) -> bool | None:
        """Whether the interval of the share contains zero; None where no interval is known."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high


def why_not(credit: Credit, unit: str, about: str | None = None, scores: Scores | None = None) -> WhyNot:
    """Return where a contributor stands, and whether those just above it are surely above.

    Args:
        credit: The shares.
        unit: The contributor who asks.
        about: Name of the behaviour, or of the picture where one behaviour is of it; not needed where there is one.
        scores: Scores of the same examples for the same picture: of a likeness, to list the most similar examples of
            the contributor, or of a gradient method, to list those with most influence.

    Returns:
        Rank and share with interval, and the `ABOVE` nearest of those above. The interval of a difference is from the
        replicates of both shares together, so common noise cancels. No interval is corrected for how many are compared.

    Raises:
        DataError: There is no such contributor, behaviour or picture; several behaviours are of the picture; or there
            are scores, but the behaviour is not of a picture.
        MismatchError: The scores have no such picture or lack examples of the contributor.

    Example:
        >>> fit = Explained("fit 0/3", "Fit of 0/3", "loss", "0/3", 0.0, 9.0)
        >>> credit = Credit("sum", True, ("a", "b"), (("1",), ("2",)), (fit,), np.array([[8.0, 1.0]]), None, {})
        >>> answer = why_not(credit, "b", "0/3")
        >>> answer.rank, answer.above[0].unit, answer.above[0].ahead
        (2, 'a', 7.0)
    """
    b, u = _behaviour(credit, about), _column(credit, unit)
    shares, low, high = credit.shares[b], credit.low, credit.high
    larger = np.flatnonzero(shares > shares[u])
    nearest = larger[np.argsort(shares[larger], kind="stable")][:ABOVE]
    explained = credit.explained[b]
    return WhyNot(
        unit=unit,
        explained=explained,
        estimator=credit.estimator,
        share=float(shares[u]),
        low=None if low is None else float(low[b, u]),
        high=None if high is None else float(high[b, u]),
        rank=1 + len(larger),
        of=len(shares),
        above=tuple(_rival(credit, b, u, int(other)) for other in nearest),
        examples=() if scores is None else _largest(scores, explained, credit.examples[u]),
        method=None if scores is None else scores.method,
    )


def _rival(credit: Credit, b: int, u: int, other: int) -> Rival:
    ahead = float(credit.shares[b, other] - credit.shares[b, u])
    if credit.replicates is None:
        return Rival(credit.units[other], float(credit.shares[b, other]), ahead, None, None)
    differences = credit.replicates[:, b, other].astype(float) - credit.replicates[:, b, u]
    low, high = np.quantile(differences, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return Rival(credit.units[other], float(credit.shares[b, other]), ahead, low, high)


def _column(credit: Credit, unit: str) -> int:
    if unit not in credit.units:
        listed = ", ".join(credit.units[:8]) + (" ..." if len(credit.units) > 8 else "")
        raise DataError(f"There is no contributor {unit!r} here; there are {len(credit.units)}: {listed}")
    return credit.units.index(unit)


def _behaviour(credit: Credit, about: str | None) -> int:
    """Return the row of a behaviour by its name or picture, or raise DataError if there is none, or more than one."""
    names = [one.name for one in credit.explained]
    matches = [b for b, one in enumerate(credit.explained) if about in (None, one.picture)]
    if about in names or not matches and about is not None:
        return credit.index_of(about)
    if len(matches) != 1:
        what = "Several behaviours were" if about is None else f"Of the picture {about!r}, several behaviours were"
        listed = ", ".join(names[b] for b in matches[:8]) + (" ..." if len(matches) > 8 else "")
        raise DataError(f"{what} shared out; name one of them: {listed}.")
    return matches[0]


def _largest(scores: Scores, explained: Explained, examples: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Return a contributor's examples with the largest scores for the picture.

    Raises:
        DataError: The behaviour is not of a picture.
        MismatchError: The scores don't have the picture or the examples.
    """
    if explained.picture is None:
        raise DataError(f"Scores are of pictures, but {explained.name!r} is of the model. Ask without scores.")
    columns = {example: n for n, example in enumerate(scores.examples)}
    if explained.picture not in scores.queries or any(example not in columns for example in examples):
        raise MismatchError(
            f"The scores of {scores.method} are of other pictures or examples than the credit: they need the picture "
            f"{explained.picture!r} and all {len(examples):,} examples of the contributor."
        )
    row = scores.row(explained.picture)
    ranked = sorted(((example, float(row[columns[example]])) for example in examples), key=lambda pair: -pair[1])
    return tuple(ranked[:EXAMPLES])
