"""What the pictures of `whence demo` show, in sentences and as a sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import whence
from whence import images
from whence.ensemble.influence import Influence


@dataclass(frozen=True)
class Redrawn:
    """A picture, the influence of the contributors on it, and the picture without the one of the largest effect.

    Attributes:
        influence: What exact losses say.
        ablation: The picture without the contributor, a placebo, and the picture of the base alone.
        nearest: The contributor whose training picture is nearest by pixels, for each picture of the ablation.
    """

    influence: Influence
    ablation: whence.Ablation
    nearest: Mapping[str, str]

    @classmethod
    def of(cls, data: whence.Dataset, influence: Influence, ablation: whence.Ablation) -> Redrawn:
        """Return it with the nearest contributor of each picture."""
        return cls(influence, ablation, nearest_contributors(data, ablation.pictures))

    @property
    def unit(self) -> str:
        """The contributor that is left out."""
        return self.ablation.units[0]

    @property
    def caption(self) -> str:
        """The name of the picture and its prompt."""
        return f'{self.ablation.sample}, "{self.prompt}"'

    @property
    def prompt(self) -> str:
        """The prompt of the picture."""
        return self.ablation.drawing.captions([self.ablation.sample])[0]

    @property
    def is_named(self) -> bool:
        """Whether the contributor rises above placebos."""
        return self.unit in self.influence.influential

    @property
    def is_telling(self) -> bool:
        """Whether the contributor is named, its style is gone without it, and there under the placebo."""
        gone = self.nearest["counterfactual"] != self.unit
        return self.is_named and gone and self.nearest["factual"] == self.nearest["placebo"] == self.unit


def nearest_contributors(data: whence.Dataset, pictures: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the contributor of the training picture that is nearest by pixels, for each picture."""
    scores = whence.pixel(torch.stack(list(pictures.values())), tuple(pictures), data)
    return {name: data.units[data.ids.index(scores.top(name, 1)[0][0])][0] for name in pictures}


def sentences(pictures: Sequence[Redrawn], named: Redrawn, opted: str, prompts: int) -> list[str]:
    """Return what is seen: a sentence for each of three pictures, and how often.

    Args:
        pictures: All pictures; the first `prompts` of them have a prompt that names a style.
        named: The picture whose contributor is left out.
        opted: The contributor that the drawing by the opt-out looks most like.
        prompts: See above.
    """
    nobody = nobody_in_particular(pictures)
    asked, others = pictures[:prompts], pictures[prompts:]
    right = [one for one in asked if one.is_named and one.prompt.endswith(one.unit)]
    return [
        f"A contributor. Picture {named.caption}: exact losses name "
        f"{', '.join(named.influence.influential) or 'nobody'}. Without {named.unit} it looks most like "
        f"{named.nearest['counterfactual']}, and under the placebo most like {named.nearest['placebo']}.",
        "Nobody in particular. This is the answer for none of the pictures this time."
        if nobody is None
        else f"Nobody in particular. Picture {nobody.caption}: no contributor rises above placebos. Without "
        f"{nobody.unit}, the largest effect, it moves by {nobody.ablation.distance:.2f}; under the placebo by "
        f"{nobody.ablation.placebo_distance or 0:.2f}.",
        f"The opt-out. No tensor of the LoRA file depends on {named.unit}. For picture {named.caption} it draws "
        f"one that looks most like {opted}.",
        f"Prompts with a style: {len(asked)}. Exact losses name the contributor of the style for {len(right)}; the "
        f"style is gone without it, and there under the placebo, in {sum(one.is_telling for one in right)}. Prompts "
        f"without a style: {len(others)}. Nobody is named for {sum(not one.influence.influential for one in others)}.",
    ]


def nobody_in_particular(pictures: Sequence[Redrawn]) -> Redrawn | None:
    """Return the first picture for which nobody is named."""
    return next((one for one in pictures if not one.influence.influential), None)


def write_sheet(path: Path, data: whence.Dataset, rows: Sequence[tuple[Redrawn, Tensor]]) -> None:
    """Write a row for each picture and what the opt-out draws: see the README."""
    pictures = []
    for row, opted in rows:
        drawn, example = row.ablation.pictures, data.images(data.examples_of(row.unit))[0]
        pictures += [images.to_pixels(drawn["factual"]), images.to_pixels(example)]
        for name in ("counterfactual", "placebo"):
            pictures += [images.to_pixels(drawn[name]), images.difference(drawn["factual"], drawn[name])]
        pictures += [images.to_pixels(opted), images.to_pixels(drawn["base"])]
    images.write_png(path, images.sheet(np.stack(pictures), columns=8, side=64))
