"""The pictures of an ensemble, set by set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from whence import artefacts, images
from whence.ensemble import Ensemble, Samples
from whence.report.pictures import SMALL, Picture, data_uri
from whence.report.words import counted, listed, named

#: Pictures shown of a set, and sets shown.
PICTURES, SETS = 200, 20


@dataclass(frozen=True)
class Gallery:
    """A set of pictures that were drawn together.

    Attributes:
        title: What they are.
        explanation: Who drew them.
        pictures: The first of them.
        left_out: How many are not shown.
    """

    title: str
    explanation: str
    pictures: tuple[Picture, ...]
    left_out: int

    @property
    def linked(self) -> bool:
        """Whether some of them are explained further down."""
        return any(picture.link for picture in self.pictures)


def sample_sets(ensemble: Ensemble) -> list[Samples]:
    """Return all pictures that this ensemble has drawn: those of all members first, then by seed and units.

    Pictures that another ensemble left in the same directory are passed over.
    """
    files = (ensemble.path / "samples").glob("*/manifest.json")
    folders = [file.parent for file in files if re.fullmatch(r"\d+(-without-.+)?", file.parent.name)]
    whole = [folder for folder in folders if not folder.name.endswith((".part", ".old"))]
    mine = [
        Samples.open(folder)
        for folder in whole
        if artefacts.read_manifest(folder, "samples").inputs["ensemble"] == ensemble.manifest.fingerprint
    ]
    return sorted(mine, key=lambda one: (bool(one.without), one.seed, one.without))


def gallery(samples: Samples, members: int, links: Mapping[str, str]) -> Gallery:
    """A set of pictures as the page shows it.

    Args:
        samples: The set.
        members: Members of the ensemble.
        links: Where on the page a picture is explained, by its name.

    Returns:
        The first pictures, with their names.
    """
    names = samples.names
    title = f"Pictures {names[0]} to {names[-1]}" if len(names) > 1 else f"Picture {names[0]}"
    drew = len(samples.manifest.made["members"])
    explanation = f"Drawn by all {members} members."
    if samples.without:
        title += f", drawn without {named(samples.without)}"
        explanation = (
            f"No member that drew them was trained on {named(samples.without)}. "
            f"{drew} of {counted(members, 'member')} drew them. "
            + (f"The units: {listed(samples.without)}." if len(samples.without) > 3 else "")
        )
        links = {}
    pictures = [
        Picture(data_uri(image, SMALL), title_of(name, samples.without), name, link=links.get(name, ""))
        for name, image in zip(names, images.to_pixels(samples.pictures[:PICTURES]), strict=False)
    ]
    return Gallery(title, explanation, tuple(pictures), len(names) - len(pictures))


def title_of(name: str, without: list[str]) -> str:
    """What a picture is: "Picture 1/0, drawn without unit 17"."""
    return f"Picture {name}, drawn without {named(without)}" if without else f"Picture {name}"
