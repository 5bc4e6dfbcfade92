"""Encoding: from pictures and captions to what a network denoises and is conditioned on, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from whence import artefacts
from whence.data import Dataset
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.codec import Codec, Pixels
from whence.diffusion.examples import Examples, Repeated
from whence.diffusion.families.family import family_of_folder
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import Guidance
from whence.diffusion.text_encoder import TextEncoder
from whence.errors import ArtefactError, MismatchError, join_names

#: The condition of networks that draw from text, by its name in diffusers.
TEXT = "encoder_hidden_states"
KIND = "encoding"
#: Name of the folder of an encoding among the results of a command or a run.
FOLDER = "encoding"


@dataclass(frozen=True)
class Encoders:
    """The codec and the text encoder of a model, without its network.

    Attributes:
        codec: From pictures to what is denoised.
        text: From captions to conditions; None for networks without text.
    """

    codec: Codec
    text: TextEncoder | None = None

    @classmethod
    def of(cls, model: Path | DiffusionModel, adapters: Sequence[Adapter] = ()) -> Encoders:
        """Return the encoders of a model in memory, or in a folder with adapters, whose network is not read."""
        if isinstance(model, DiffusionModel):
            return cls(model.codec, model.text)
        family = family_of_folder(model)
        return cls(family.codec(model), family.text(model, tuple(adapters)))

    @property
    def draws_pixels(self) -> bool:
        """Whether the network denoises the pictures themselves."""
        return isinstance(self.codec, Pixels)

    @property
    def are_plain(self) -> bool:
        """Whether pictures are given to the network as they are, and nothing else."""
        return self.draws_pixels and self.text is None

    def encode(self, data: Dataset, folder: Path | None = None) -> Examples:
        """Return images with their captions as the network gets them, in the order of the data.

        Pixels without text stay as they are.

        Args:
            data: The images. Those without a caption get the empty one.
            folder: Where the encoding is kept, and found again; None keeps nothing.

        Raises:
            DataError: The sides of the images don't fit the autoencoder.
            MismatchError: The folder holds an encoding of other images, captions or encoders.
            ArtefactError: The encoding there is damaged.
        """
        if self.are_plain:
            return Examples.of(data)
        if folder is None:
            return self._encode(data)
        inputs = {"data": data.ungrouped.fingerprint, **self._fingerprints}

        def build(part: Path) -> None:
            self._encode(data).write(part / "examples")

        artefacts.ensure(folder, KIND, inputs=inputs, made={"latents": "mean"}, build=build)
        return replace(_verified(folder).ordered(data.ids), notes=self._notes(data))

    @property
    def _fingerprints(self) -> dict[str, str]:
        """Fingerprints of codec and text encoder."""
        text = {} if self.text is None else {"text": self.text.fingerprint}
        return {"codec": self.codec.fingerprint, **text}

    def read(self, data: Dataset, folder: Path) -> Examples:
        """Return images with their captions from an encoding of these and perhaps others.

        Raises:
            MismatchError: The folder holds an encoding by other encoders.
            ArtefactError: It is missing or damaged, or lacks an image.
        """
        manifest = artefacts.read_verified(folder, KIND)
        examples = _verified(folder)
        for name, own in self._fingerprints.items():
            if manifest.inputs.get(name) != own:
                raise MismatchError(f"{folder} was encoded by another {name} than that of this base. Encode it again.")
        missing = sorted(set(data.ids) - set(examples.ids))
        if missing:
            raise ArtefactError(f"{folder} has no encoding of {join_names(missing)}. Encode the images again.")
        return replace(examples.ordered(data.ids), notes=self._notes(data))

    def encode_queries(self, data: Dataset) -> Examples:
        """Return images as queries: as the network gets them, with their pictures and captions for pages."""
        if self.are_plain:
            return Examples(data.ids, data.images(range(len(data))))
        return replace(self.encode(data), pictures=artefacts.to_tensor(data.pixels), captions=self.captions(data))

    def captions(self, data: Dataset) -> tuple[str, ...]:
        """The captions of images as they are encoded, the empty one where there is none; empty for networks without."""
        return () if self.text is None else tuple(caption or "" for caption in data.captions)

    def _encode(self, data: Dataset) -> Examples:
        values = artefacts.to_tensor(data.pixels)
        if not self.draws_pixels:
            values = self.codec.encode(values)
        conditions = self.conditions(self.captions(data))
        return Examples(data.ids, values, conditions, notes=self._notes(data))

    def conditions(self, texts: Sequence[str]) -> dict[str, Repeated]:
        """The conditions of a picture for each text; each distinct text is encoded once."""
        if self.text is None:
            return {}
        distinct = sorted(set(texts))
        index = {text: n for n, text in enumerate(distinct)}
        rows = torch.tensor([index[text] for text in texts])
        return {TEXT: Repeated(self.text.embed(distinct), rows)}

    def prompted(self, prompts: Prompts | None, names: Sequence[str]) -> tuple[dict[str, Repeated], Guidance | None]:
        """Return the conditions of pictures SEED/INDEX that are drawn from prompts, and how they are guided."""
        if prompts is None:
            return {}, None
        guidance = None
        if prompts.guidance != 1:
            guidance = Guidance(prompts.guidance, self.conditions([prompts.negative] * len(names)))
        return self.conditions(prompts.of(names)), guidance

    def _notes(self, data: Dataset) -> tuple[str, ...]:
        """What a reader of results should know of the captions."""
        if self.text is None:
            return ()
        without = [id for id, caption in zip(data.ids, data.captions, strict=True) if not caption]
        cut = self.text.truncated([caption for caption in dict.fromkeys(data.captions) if caption])
        notes = [
            f"{len(without)} of {len(data)} pictures have no caption; they get the empty one: {join_names(without)}."
        ]
        longer = [
            f"{len(cut)} captions are longer than the text encoder takes; their ends are not seen: {join_names(cut)}."
        ]
        adapted = ["The adapter's part of the text encoder is applied to captions and prompts, and not differentiated."]
        return (*(notes if without else []), *(longer if cut else []), *(adapted if self.text.adapted else []))


def _verified(folder: Path) -> Examples:
    """Return the examples of an encoding whose files are all checked by hash."""
    try:
        artefacts.require_part(folder, artefacts.read_verified(folder, KIND), "examples", "examples")
        artefacts.read_verified(folder / "examples", "examples")
        return Examples.read(folder / "examples")
    except ArtefactError as error:
        raise ArtefactError(
            f"{folder} is damaged: its examples are missing or have changed. Delete {folder} and run the same command "
            "again: the images are encoded anew."
        ) from error
