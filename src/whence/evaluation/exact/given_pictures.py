"""The pictures that scores were asked about, and whether scores and an ensemble are of the same training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whence import artefacts
from whence.attribution.pictures import Pictures
from whence.diffusion.examples import Examples
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, MismatchError
from whence.scores.stored import StoredScores


def given_pictures(given: Sequence[StoredScores], paths: Sequence[Path]) -> Pictures:
    """Return the pictures that all of the scores were asked about, which `whence attribute` keeps beside them.

    Args:
        given: The scores.
        paths: Where they were read from: OUT, or OUT/METHOD.

    Returns:
        The pictures.

    Raises:
        MismatchError: Scores are of other pictures than the first ones.
        ArtefactError: No pictures are kept beside any of the scores.
    """
    first, wanted = given[0], given[0].manifest.inputs.get("queries")
    for one in given:
        if one.manifest.inputs.get("queries") != wanted:
            raise MismatchError(
                f"The scores {one.name} are of pictures with the fingerprint {one.manifest.inputs.get('queries')}, "
                f"{first.name} of pictures with {wanted}. Evaluate them one by one."
            )
    for place in dict.fromkeys(folder / "pictures" for path in paths for folder in (path, path.parent)):
        if place.is_dir() and artefacts.read_manifest(place, "pictures").inputs.get("queries") == wanted:
            return Pictures.read(place)
    raise ArtefactError(
        f"The pictures that {first.name} was asked about are not beside its scores, in OUT/pictures. Run the command "
        "that made the scores again: whence attribute MODEL DATA --queries ... --out OUT"
    )


def require_data(ensemble: Ensemble, given: Sequence[StoredScores]) -> None:
    """Check that scores are of the training images of an ensemble.

    Raises:
        MismatchError: They are of others; both fingerprints are named.
    """
    own = Examples.of(ensemble.data).fingerprint
    for one in given:
        if (theirs := one.manifest.inputs.get("data")) != own:
            raise MismatchError(
                f"The scores {one.name} are of training images with the fingerprint {theirs}, {ensemble.path} was "
                f"trained on images with {own}. Attribute the ensemble's own: whence attribute {ensemble.path} "
                f"{ensemble.path / 'data'} --queries ... --out OUT"
            )
