"""Which samples and units to look at."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from whence.ensemble.model import Ensemble
from whence.ensemble.sampling import Samples, find_sample
from whence.errors import ConfigError
from whence.similarity.pixel import pixel


def expand_names(names: Sequence[str]) -> list[str]:
    """Return SEED/INDEX of every sample that is meant by SEED/INDEX or SEED/FIRST-LAST, without repeats.

    Raises:
        ConfigError: A name is neither.

    Example:
        >>> expand_names(["0/3", "1/0-2"])
        ['0/3', '1/0', '1/1', '1/2']
    """
    found: list[str] = []
    for name in names:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,6})(?:-(\d{1,6}))?", name)
        if not match or (match[3] and int(match[3]) < int(match[2])):
            raise ConfigError(
                f"A sample is named SEED/INDEX, like 0/3, or SEED/FIRST-LAST, like 0/0-15; given {name!r}."
            )
        found += [f"{int(match[1])}/{index}" for index in range(int(match[2]), int(match[3] or match[2]) + 1)]
    return list(dict.fromkeys(found))


def nearest_units(ensemble: Ensemble, names: Sequence[str], count: int) -> list[tuple[str, list[str]]]:
    """Return for every sample the units whose images are closest to it by pixels, one (sample, [unit]) each.

    They are the obvious suspects, not the influential ones.
    """
    opened: dict[int, Samples] = {}
    found = [find_sample(ensemble, name, opened) for name in names]
    pictures = torch.stack([samples.pictures[index] for samples, index in found])
    scores = pixel(pictures, names, ensemble.data).by_unit()
    return [(name, [unit]) for name in names for unit, _ in scores.top(name, count)]
