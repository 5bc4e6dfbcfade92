"""The ceiling of agreement with an ensemble's landscapes, from an ensemble with a second codebook.

A landscape says how far each unit's ablation moves a picture of *this* ensemble. An ensemble on the same data with
other code words and other weights has another landscape. Both landscapes share what is true of the images. What they
don't share is chance. So an estimate can't be expected to agree with one of them better than the other one does.
"""

from __future__ import annotations

import numpy as np

from whence.ensemble import Ensemble
from whence.ensemble.landscape import landscapes
from whence.errors import DataError, MismatchError
from whence.statistics.agreement import Agreement, agreement


def ceiling(ensemble: Ensemble, second: Ensemble) -> Agreement:
    """Return how the landscapes of two ensembles on the same data agree, for all pictures of which both have one.

    Raises:
        DataError: They have no landscape in common.
    """
    require_independent(ensemble, second)
    first, other = ({landscape.sample: landscape for landscape in landscapes(source)} for source in (ensemble, second))
    samples = [name for name in first if name in other]
    if not samples:
        raise DataError(
            f"{ensemble.path} and {second.path} have no landscape of the same picture. First: "
            "whence ensemble landscape, with the same --samples, for both."
        )
    order = [second.codebook.units.index(unit) for unit in ensemble.codebook.units]
    return agreement(
        samples,
        np.stack([first[name].distances.numpy() for name in samples]),
        np.stack([other[name].distances.numpy()[order] for name in samples]),
    )


def require_independent(ensemble: Ensemble, second: Ensemble) -> None:
    """Check that two ensembles were trained on the same data by other code words.

    Raises:
        MismatchError: They were trained on other data, or have the same code words.
    """
    data = [str(source.manifest.inputs["data"]) for source in (ensemble, second)]
    if data[0] != data[1]:
        raise MismatchError(
            f"{ensemble.path} and {second.path} were trained on different data, with the fingerprints {data[0]} and "
            f"{data[1]}; the ceiling needs the same."
        )
    if np.array_equal(ensemble.codebook.bits, second.codebook.bits):
        raise MismatchError(
            f"{ensemble.path} and {second.path} have the same code words, so chance is the same in both. Train the "
            "second with another --codebook-seed and another --seed."
        )
