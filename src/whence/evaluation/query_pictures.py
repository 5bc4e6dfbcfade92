"""The pictures of the queries of stored scores, and whether they are training images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from whence import artefacts
from whence.attribution.pictures import Pictures
from whence.diffusion.examples import Examples
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, DataError, MismatchError
from whence.scores.scores import Scores
from whence.scores.stored import StoredScores


def shared_pictures(stored: Sequence[StoredScores], paths: Sequence[Path]) -> Pictures:
    """Return the query pictures of the scores, which `whence attribute` keeps beside them.

    Args:
        stored: The scores, all of the same queries.
        paths: Where the scores were read from: OUT, or OUT/METHOD.

    Raises:
        MismatchError: Some scores are of other pictures than the first ones.
        ArtefactError: No pictures are kept beside any of the scores.
    """
    first, fingerprint = stored[0], stored[0].manifest.inputs.get("queries")
    for scores in stored:
        if scores.manifest.inputs.get("queries") != fingerprint:
            raise MismatchError(
                f"The scores {scores.name} are of pictures with the fingerprint {scores.manifest.inputs.get('queries')}"
                f", {first.name} of pictures with {fingerprint}. Evaluate them one by one."
            )
    for folder in _picture_folders(paths):
        if artefacts.read_manifest(folder, "pictures").inputs.get("queries") == fingerprint:
            return Pictures.read(folder)
    raise ArtefactError(
        f"The query pictures of {first.name} are not beside its scores, in OUT/pictures. Run the command that made the "
        "scores again: whence attribute MODEL DATA --queries ... --out OUT"
    )


def require_same_data(ensemble: Ensemble, stored: Sequence[StoredScores]) -> None:
    """Check that scores are of the training images of an ensemble.

    Raises:
        MismatchError: They are of other images; the message names both fingerprints.
    """
    fingerprint = Examples.of(ensemble.data).fingerprint
    for scores in stored:
        if (other := scores.manifest.inputs.get("data")) != fingerprint:
            raise MismatchError(
                f"The scores {scores.name} are of training images with the fingerprint {other}, {ensemble.path} was "
                f"trained on images with {fingerprint}. Attribute the ensemble's own: whence attribute {ensemble.path} "
                f"{ensemble.path / 'data'} --queries ... --out OUT"
            )


def self_columns(scores: Scores) -> np.ndarray:
    """Return the column of the example that has the query's id, int [Q]; -1 where there is none.

    Example:
        >>> import torch
        >>> from whence.scores.scores import Estimand
        >>> estimand = Estimand("pixels", "none", "none", "none", "example")
        >>> self_columns(Scores(torch.zeros(2, 3), ("c", "q"), ("a", "b", "c"), (("u",),) * 3, "pixel", estimand,
        ...                     "unsigned", "max")).tolist()
        [2, -1]
    """
    column = {name: n for n, name in enumerate(scores.examples)}
    return np.array([column.get(name, -1) for name in scores.queries], dtype=np.int64)


def training_image_columns(stored: StoredScores, paths: Sequence[Path]) -> np.ndarray:
    """Return the column of each query among the examples, int [Q], after checking that it is the same picture.

    Only pictures that were kept can be compared. These are the examples of the highest and of the lowest scores.

    Args:
        stored: Scores of training images for training images.
        paths: Where scores were read from.

    Raises:
        DataError: A query has the id of no training image.
        MismatchError: A query has the id of a training image, but is another picture.
    """
    columns = self_columns(stored.scores)
    if (columns < 0).any():
        unknown = stored.scores.queries[int(np.argmin(columns))]
        raise DataError(
            f"The query {unknown!r} of {stored.name} is no training image. Attribute training images: give `whence "
            "attribute` the same data as --queries."
        )
    for folder in _picture_folders(paths):
        if artefacts.read_manifest(folder, "pictures").inputs == stored.manifest.inputs:
            _require_same_pictures(Pictures.read(folder))
    return columns


def _picture_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders of pictures in OUT, where scores were read from OUT or OUT/METHOD."""
    for folder in dict.fromkeys(place / "pictures" for path in paths for place in (path, path.parent)):
        if folder.is_dir():
            yield folder


def _require_same_pictures(pictures: Pictures) -> None:
    """Check that a query and an example of the same id are the same picture.

    Raises:
        MismatchError: They are not.
    """
    for name in sorted(set(pictures.examples.ids).intersection(pictures.queries.ids)):
        if not np.array_equal(pictures.query(name), pictures.example(name)):
            raise MismatchError(
                f"The query {name!r} has the id of a training image, but is another picture. So it is not known which "
                "queries are training images. Give the queries' own data: --queries."
            )
