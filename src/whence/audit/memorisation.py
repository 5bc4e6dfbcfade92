"""The audit of memorisation: drawn pictures that are training images.

The closeness of a picture x among training images, each cluster of near-duplicates taken once, is

    c(x) = distance to the nearest one / mean distance to the next `NEIGHBOURS` ones

Pages call it the distance. It is small only where one training image stands out: pictures that are simple, or typical,
are near to many (Carlini et al. 2023, "Extracting training data from diffusion models", arXiv 2301.13188, section 4.2,
with the L2 distance of whole pictures). A drawn picture is a copy if it is closer than all but a hundredth of held-out
pictures: with n of them, closer than the k-th closest, k = ⌊(n + 1) / 100⌋, at least 1. A picture of the same kind that
is no copy then is taken for one with a probability of at most k / (n + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whence import artefacts
from whence.artefacts import Artefact
from whence.similarity.nearest import nearest
from whence.statistics.statistic import Statistic, share

#: The share of pictures that may be taken for copies by mistake.
LEVEL = 0.01
#: Nearest training images after the first one, with which it is compared.
NEIGHBOURS = 50


@dataclass(frozen=True, eq=False)
class Closeness:
    """How close pictures are to one training image rather than to many.

    Attributes:
        places: The nearest training image of each picture, int [Q].
        distances: Root mean square distance to it, float64 [Q].
        values: c, float64 [Q], from 0 for a copy to 1; NaN where a picture has no other neighbours.
    """

    places: np.ndarray
    distances: np.ndarray
    values: np.ndarray


def closeness(
    queries: np.ndarray, examples: np.ndarray, apart: tuple[np.ndarray, np.ndarray] | None = None
) -> Closeness:
    """Return how close queries [Q, ...] are to examples [N, ...]: pixels, latents or embeddings.

    `apart` are labels of queries and of examples: those of the same label are not compared.

    Example:
        >>> examples = np.array([[0.0], [4.0], [6.0]])
        >>> closeness(np.array([[1.0]]), examples).values.tolist()  # 1 / mean(3, 5)
        [0.25]
    """
    places, distances = nearest(queries, examples, NEIGHBOURS + 1, apart=apart)
    others = np.where(np.isfinite(distances[:, 1:]), distances[:, 1:], np.nan)
    count = np.isfinite(others).sum(1)
    mean = np.divide(np.nansum(others, 1), count, out=np.full(len(others), np.nan), where=count > 0)
    values = np.divide(distances[:, 0], mean, out=np.full(len(mean), np.nan), where=mean > 0)
    return Closeness(places[:, 0], distances[:, 0], values)


def threshold_place(count: int) -> int:
    """Return k: a copy is closer than the k-th closest of `count` held-out pictures.

    Example:
        >>> threshold_place(50), threshold_place(297)
        (1, 2)
    """
    return max(1, int(LEVEL * (count + 1) + 1e-9))


@dataclass(frozen=True)
class Hit:
    """A drawn picture that is a copy, and of an ensemble what ablation says of it.

    Attributes:
        picture: SEED/INDEX of the drawn picture.
        image: Id of the training image, the first of its near-duplicates.
        copies: Near-duplicates of it in the training data, this one included.
        closeness: c of the picture.
        distance: Root mean square distance to the image.
        units: The units of the image and its near-duplicates; empty for a model that is no ensemble.
        before: Distance of pixels to the image, where the ablation was drawn; else NaN, as the next two.
        without: The same of the picture that members draw which never saw these units.
        placebo: The same of the picture that as many members draw without these units in particular.
    """

    picture: str
    image: str
    copies: int
    closeness: float
    distance: float
    units: tuple[str, ...] = ()
    before: float = float("nan")
    without: float = float("nan")
    placebo: float = float("nan")


@dataclass(frozen=True)
class MemorisationAudit(Artefact):
    """Drawn pictures and how close they are to training images."""

    kind = "memorisation audit"

    @cached_property
    def drawn(self) -> dict[str, list[Any]]:
        """Drawn pictures: id, image, copies, distance, closeness."""
        return artefacts.read_table(self.path / "drawn.parquet")

    @property
    def threshold(self) -> float:
        """Pictures with a smaller closeness are copies."""
        return float(self.manifest.facts["threshold"])

    @property
    def chosen_by(self) -> str:
        """How the threshold was chosen, in words."""
        return str(self.manifest.facts["chosen_by"])

    @property
    def compared(self) -> int:
        """Pictures that the model did not draw, by which the threshold was chosen; 0 where it was stated."""
        return int(self.manifest.facts["compared"])

    @property
    def mistakes(self) -> float | None:
        """The largest share of pictures of the same kind that is taken for copies; None where that is not known."""
        return threshold_place(self.compared) / (1 + self.compared) if self.compared else None

    @property
    def clusters(self) -> int:
        """Training images without near-duplicates."""
        return int(self.manifest.facts["clusters"])

    @cached_property
    def hits(self) -> list[Hit]:
        """The drawn pictures that are copies, the closest first."""
        table = artefacts.read_table(self.path / "hits.parquet")
        names, columns = table.keys(), table.values()
        rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return [Hit(**{**row, "units": tuple(row["units"])}) for row in rows]

    @property
    def rate(self) -> Statistic:
        """The share of drawn pictures that are copies, with its exact 95% interval; its chance is that of a mistake."""
        names = {hit.picture for hit in self.hits}
        return share(np.array([name in names for name in self.drawn["id"]]), self.mistakes or 0.0)

    @property
    def images(self) -> int:
        """How many training images were given back, near-duplicates counted once."""
        return len({hit.image for hit in self.hits})
