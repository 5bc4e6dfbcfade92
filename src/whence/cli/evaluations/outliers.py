"""The command `whence evaluate outliers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whence.cli.evaluations.measures import SCORES, by_measure, show_measures, show_what, show_words
from whence.cli.options import UNIT_COLUMN

if TYPE_CHECKING:
    import numpy as np

    from whence.scores.scores import Scores

WORDS = """Area: how often an outlier has more influence on itself than another image. Recall: share of the outliers
among as many images at the top as there are outliers. Average precision: mean of the precision down to each outlier. At
chance the method doesn't know them."""


def outliers(
    scores: SCORES,
    outliers: Annotated[list[str], typer.Option(help="Unit whose training images are the outliers; may be repeated.")],
    data: Annotated[
        str | None, typer.Option(help="The training images, if the scores don't hold these units: name --unit-column.")
    ] = None,
    unit_column: UNIT_COLUMN = None,
) -> None:
    """Do training images that don't belong stand out by their influence on themselves?

    The queries must be training images: the score of each one for itself is its self-influence. Outliers are known by
    their unit. Intervals are over images, outliers and others each drawn among themselves.

    Example: `whence evaluate outliers scores/ --outliers zeros`
    """
    from whence.evaluation.ranking.outliers import outliers as measure
    from whence.evaluation.ranking.themselves import training_images
    from whence.scores.stored import read_scores

    given, found = read_scores(scores), {}
    forms = {"area under the ROC curve": ".3f", "recall among as many": ".3f", "average precision": ".3f"}
    for one in given:
        columns = training_images(one, scores)
        own = one.scores.scores.numpy()[range(len(columns)), columns]
        numbers = measure(own, _are_outliers(one.scores, columns, outliers, data, unit_column))
        found[one.name] = dict(zip(forms, (numbers.area, numbers.recall, numbers.precision), strict=True))
    show_what(given)
    show_measures(by_measure(found, forms))
    show_words(WORDS)


def _are_outliers(
    scores: Scores, columns: np.ndarray, outliers: list[str], data: str | None, unit_column: str | None
) -> np.ndarray:
    """Whether each query is an outlier, bool [Q]."""
    import numpy as np

    from whence.cli.evaluations.units import units_of
    from whence.errors import DataError

    units = scores.units if data is None else units_of(scores.examples, data, unit_column, "training images")
    known = {unit for own in units for unit in own}
    for unit in outliers:
        if unit not in known:
            some = ", ".join(repr(name) for name in sorted(known)[:5])
            raise DataError(
                f"No training image is of the unit {unit!r}; there are {some}{' ...' if len(known) > 5 else ''}. "
                "Units of a column: --data DATA --unit-column COLUMN."
            )
    return np.array([bool(set(outliers) & set(units[n])) for n in columns])
