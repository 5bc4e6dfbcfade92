"""Queries that are training images: which column of the scores is the query itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.attribution.pictures import Pictures
from whence.errors import DataError, MismatchError
from whence.scores.scores import Scores
from whence.scores.stored import StoredScores


def own_columns(scores: Scores) -> np.ndarray:
    """Return the column of the example that has the query's id, int [Q]; -1 where there is none.

    Example:
        >>> import torch
        >>> from whence.scores.scores import Estimand
        >>> estimand = Estimand("pixels", "none", "none", "none", "example")
        >>> own_columns(Scores(torch.zeros(2, 3), ("c", "q"), ("a", "b", "c"), (("u",),) * 3, "pixel", estimand,
        ...                    "unsigned", "max")).tolist()
        [2, -1]
    """
    place = {name: n for n, name in enumerate(scores.examples)}
    return np.array([place.get(name, -1) for name in scores.queries], dtype=np.int64)


def training_images(given: StoredScores, paths: Sequence[Path]) -> np.ndarray:
    """Return the column of each query among the examples, int [Q], after checking that it is the same picture.

    Pictures are compared where they were kept, which are those of the examples at the ends of the scores.

    Args:
        given: Scores of training images for training images.
        paths: Where scores were read from.

    Returns:
        The columns.

    Raises:
        DataError: A query has the id of no training image.
        MismatchError: A query has the id of a training image and is another picture.
    """
    columns = own_columns(given.scores)
    if (columns < 0).any():
        missing = given.scores.queries[int(np.argmin(columns))]
        raise DataError(
            f"The query {missing!r} of {given.name} is no training image. Attribute training images: give `whence "
            "attribute` the same data as --queries."
        )
    for place in dict.fromkeys(folder / "pictures" for path in paths for folder in (path, path.parent)):
        if place.is_dir() and artefacts.read_manifest(place, "pictures").inputs == given.manifest.inputs:
            _require_same_pictures(Pictures.read(place))
    return columns


def _require_same_pictures(pictures: Pictures) -> None:
    """Check that queries and examples of the same id are the same picture.

    Raises:
        MismatchError: They are not.
    """
    both = set(pictures.examples.ids).intersection(pictures.queries.ids)
    for name in pictures.queries.ids:
        if name in both and not np.array_equal(pictures.query(name), pictures.example(name)):
            raise MismatchError(
                f"The query {name!r} has the id of a training image, but is another picture, so that it can't be told "
                "which queries are training images. Give the queries' own data: --queries."
            )
