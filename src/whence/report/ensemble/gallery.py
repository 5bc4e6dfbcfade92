"""Sets of pictures that an ensemble drew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from whence import artefacts, images
from whence.ensemble import Ensemble, Samples
from whence.errors import join_names
from whence.report.picture import SMALL, Picture, data_uri
from whence.report.text import plural, unit_phrase

#: Pictures shown of a set, and sets shown.
PICTURES, SETS = 200, 20


@dataclass(frozen=True)
class Gallery:
    """A set of pictures that were drawn together."""

    title: str  # what they are
    explanation: str  # which members drew them
    pictures: tuple[Picture, ...]  # the first of them
    left_out: int  # how many are not shown

    @property
    def linked(self) -> bool:
        """Whether some of them are explained further down."""
        return any(picture.link for picture in self.pictures)


def sample_sets(ensemble: Ensemble) -> list[Samples]:
    """Return all pictures that this ensemble drew: those of all members first, then by seed and units.

    Pictures of another ensemble in the same directory are left out.
    """
    folders = [path for path in artefacts.whole(ensemble.path / "samples", "*") if _is_sample_set(path.name)]
    sets = [
        Samples.open(folder)
        for folder in folders
        if artefacts.read_manifest(folder, "samples").inputs["ensemble"] == ensemble.manifest.fingerprint
    ]
    return sorted(sets, key=lambda samples: (bool(samples.without), samples.seed, samples.without))


def _is_sample_set(name: str) -> bool:
    return re.fullmatch(r"\d+(-without-.+)?", name) is not None


def gallery(samples: Samples, members: int, links: Mapping[str, str]) -> Gallery:
    """The first pictures of a set; `links` are the places on the page where a picture is explained, by its name."""
    names, without = samples.names, samples.without
    title = f"Pictures {names[0]} to {names[-1]}" if len(names) > 1 else f"Picture {names[0]}"
    explanation = f"Drawn by all {members} members."
    if without:
        title += f", drawn without {unit_phrase(without)}"
        explanation = (
            f"No member that drew them was trained on {unit_phrase(without)}. "
            f"{len(samples.manifest.made['members'])} of {plural(members, 'member')} drew them. "
            + (f"The units: {join_names(without, most=20)}." if len(without) > 3 else "")
        )
        links = {}
    suffix = f", drawn without {unit_phrase(without)}" if without else ""
    pictures = [
        Picture(data_uri(image, SMALL), f"Picture {name}{suffix}", name, link=links.get(name, ""))
        for name, image in zip(names, images.to_pixels(samples.pictures[:PICTURES]), strict=False)
    ]
    return Gallery(title, explanation, tuple(pictures), len(names) - len(pictures))
