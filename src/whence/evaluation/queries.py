"""The queries of a bank: how each came to be, what it may be used for, and warnings where figures are too good.

Figures are too good on subsets or queries on which a setting was chosen. The manifest of scores may say which these
are: ``tuned_on``, a mapping with ``pool``, the name of a pool or a list of names, and ``queries``, which is
``reported``, ``development`` or ``all``, or a list of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whence import artefacts
from whence.attribution.pictures import Pictures
from whence.ensemble.model import Ensemble
from whence.errors import ArtefactError, DataError, MismatchError
from whence.scores.scores import Scores
from whence.scores.stored import StoredScores

if TYPE_CHECKING:
    from whence.evaluation.bank.bank import Bank

#: The pool on which settings are chosen.
DEVELOPMENT = "development"


class Kind(StrEnum):
    """How a query came to be."""

    HELD_OUT = "held-out"
    DRAWN = "drawn"


class Use(StrEnum):
    """What a query may be used for: for figures that are reported, or to choose settings."""

    REPORTED = "reported"
    DEVELOPMENT = "development"


def query_mask(drawn: np.ndarray, development: np.ndarray, kind: Kind, use: Use) -> np.ndarray:
    """Return which queries, drawn or for development as bool [Q] say, are of a kind and for a use, bool [Q]."""
    mask: np.ndarray = (drawn == (kind is Kind.DRAWN)) & (development == (use is Use.DEVELOPMENT))
    return mask


def query_places(bank: Bank, *kinds: Kind, use: Use = Use.REPORTED) -> np.ndarray:
    """Return the places of a bank's queries of some kinds, by default all, and for a use, int [Q]."""
    masks = [query_mask(bank.drawn, bank.development, kind, use) for kind in kinds or Kind]
    return np.flatnonzero(np.logical_or.reduce(masks))


def tuning_notes(stored: Sequence[StoredScores], pool: str, use: Use, queries: Collection[str]) -> list[str]:
    """Return a warning for each reason why figures of scores on a pool and on queries, by their ids, are too good."""
    notes = []
    if pool == DEVELOPMENT or use is Use.DEVELOPMENT:
        notes.append(
            "These subsets or queries are for choosing knobs. Report figures of the pool test and --use reported."
        )
    if pool == DEVELOPMENT and use is Use.DEVELOPMENT:
        return notes
    for scores in stored:
        shared = _shared(scores.manifest.made.get("tuned_on") or {}, pool, use, set(queries))
        notes += [
            f"{scores.name}: a knob was chosen on the same {noun}, so its figures are too good." for noun in shared
        ]
    for method in dict.fromkeys(scores.scores.method for scores in stored):
        variants = [s for s in stored if s.scores.method == method and set(s.scores.queries) & set(queries)]
        if len({_tunable_settings(scores) for scores in variants}) > 1:
            notes.append(
                f"{', '.join(scores.name for scores in variants)} are {method} with different settings. Don't report "
                f"the best of them: choose it with --pool {DEVELOPMENT} --use {Use.DEVELOPMENT}, and report that one."
            )
    return notes


def _tunable_settings(scores: StoredScores) -> str:
    """The settings that could be chosen by looking at figures; the number of draws is not one."""
    settings = scores.manifest.made.get("config", {})
    return str(sorted((name, str(value)) for name, value in settings.items() if name != "draws"))


def _shared(tuned: Mapping[str, Any], pool: str, use: Use, queries: set[str]) -> list[str]:
    """What the choice of a setting and the figures share: subsets, queries, or both."""
    pools, chosen = tuned.get("pool", []), tuned.get("queries", [])
    shared = []
    if pool in ([pools] if isinstance(pools, str) else pools):
        shared.append("pool of subsets")
    if chosen in (str(use), "all") if isinstance(chosen, str) else queries.intersection(chosen):
        shared.append("queries")
    return shared


def shared_pictures(stored: Sequence[StoredScores], paths: Sequence[Path]) -> Pictures:
    """Return the query pictures of scores of the same queries, which were read from `paths`, OUT or OUT/METHOD.

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
    """Raise MismatchError, which names both fingerprints, if scores are not of the training images of an ensemble."""
    fingerprint = ensemble.examples.fingerprint
    for scores in stored:
        if (other := scores.manifest.inputs.get("data")) != fingerprint:
            raise MismatchError(
                f"The scores {scores.name} are of training images with the fingerprint {other}, {ensemble.path} was "
                f"trained on images with {fingerprint}. Attribute the ensemble's own: whence attribute {ensemble.path} "
                f"{ensemble.path / 'data'} --queries ... --out OUT"
            )


def self_columns(scores: Scores) -> np.ndarray:
    """Return the column of the example that has the query's id, int [Q]; -1 where there is none."""
    column = {name: n for n, name in enumerate(scores.examples)}
    return np.array([column.get(name, -1) for name in scores.queries], dtype=np.int64)


def training_image_columns(stored: StoredScores, paths: Sequence[Path]) -> np.ndarray:
    """Return the column of each query among the examples, int [Q]; raise an error if it is none, or another picture.

    Only pictures that were kept can be compared. These are the examples of the highest and of the lowest scores.

    Raises:
        DataError: A query has the id of no training image.
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
    """Raise MismatchError if a query and an example of the same id are different pictures."""
    for name in sorted(set(pictures.examples.ids).intersection(pictures.queries.ids)):
        if not np.array_equal(pictures.query(name), pictures.example(name)):
            raise MismatchError(
                f"The query {name!r} has the id of a training image, but is another picture. So it is not known which "
                "queries are training images. Give the queries' own data: --queries."
            )
