"""Encoding: from pictures and captions to what a network denoises and is conditioned on, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence import artefacts
from whence.data import Dataset
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.augmentation import PLAIN, Augmentation
from whence.diffusion.codec import Codec, Pixels
from whence.diffusion.conditioner import Conditioner
from whence.diffusion.example_files import CAPTIONS, CONDITIONS, ROWS, write_example_files
from whence.diffusion.examples import Examples
from whence.diffusion.families.family import family_of_folder
from whence.diffusion.latent_files import write_latents
from whence.diffusion.latents import DEVIATION, MEAN, MIRRORED, MIRRORED_DEVIATION, Latents
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.repeated import Repeated, distinct_rows
from whence.diffusion.sampling import Guidance
from whence.diffusion.shards import Shards, read_shards, write_shards
from whence.errors import ArtefactError, ConfigError, MismatchError, join_names
from whence.images import from_pixels
from whence.ragged import Ragged, groups_of, join_groups

KIND = "encoding"
#: Name of the folder of an encoding among the results of a command or a run.
FOLDER = "encoding"


@dataclass(frozen=True)
class Encoders:
    """The codec and the conditioner of a model, without its network.

    Attributes:
        codec: From pictures to what is denoised.
        text: From captions, or class names, to conditions; None for networks without.
        size: The shape (C, H, W) of the pictures that the model draws; None where that isn't known.
    """

    codec: Codec
    text: Conditioner | None = None
    size: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls, model: Path | DiffusionModel, adapters: Sequence[Adapter] = (), classes: Path | None = None
    ) -> Encoders:
        """Return the encoders of a model in memory, or in a folder with adapters, whose network is not read."""
        if isinstance(model, DiffusionModel):
            return cls(model.codec, model.text, model.codec.picture_size(model.size))
        family = family_of_folder(model)
        return cls(family.codec(model), family.conditioner(model, adapters, classes))

    @property
    def draws_pixels(self) -> bool:
        """Whether the network denoises the pictures themselves."""
        return isinstance(self.codec, Pixels)

    @property
    def are_plain(self) -> bool:
        """Whether pictures are given to the network as they are, and nothing else."""
        return self.draws_pixels and self.text is None

    def encode(self, data: Dataset, folder: Path | None = None, augmentation: Augmentation = PLAIN) -> Examples:
        """Return images with their captions as the network gets them, in the order of the data.

        Pixels without text stay as they are. Latents are encoded with their posterior, shard by shard; an interrupted
        call goes on after the last whole shard. First the autoencoder is in memory, then the text encoder.

        Args:
            data: The images. Those without a caption get the empty one.
            folder: Where the encoding is kept, and found again; None keeps nothing.
            augmentation: Which of deviations and mirror images of latents are needed.

        Raises:
            ConfigError: Latents are to be sampled, and there is no Gaussian posterior.
            DataError: The sides of the images don't fit the autoencoder.
            MismatchError: The folder holds an encoding of other images, captions or encoders.
            ArtefactError: The encoding there is damaged.
        """
        self.require_posterior(augmentation.sampled)
        if self.are_plain:
            return Examples.of(data)
        mirrored = augmentation.flip
        if folder is None:
            return self._encode(data, augmentation)
        inputs = {"data": data.ungrouped.fingerprint, **self._fingerprints, **self.framings(data)}
        made = {"deviation": self.codec.has_deviation, "mirrored": mirrored}
        artefacts.ensure(folder, KIND, inputs=inputs, made=made, build=lambda part: self._write(data, part, mirrored))
        return self._read(data, folder, augmentation)

    def require_posterior(self, sampled: bool) -> None:
        """Check that latents can be sampled, if they are to be; a `ConfigError` says why not."""
        if sampled and self.draws_pixels:
            raise ConfigError(
                "latents = sample is for networks of latents; this one denoises the pictures themselves. Leave it out."
            )
        if sampled and not self.codec.has_deviation:
            raise ConfigError(
                "latents = sample needs the Gaussian posterior of an AutoencoderKL; a VQ autoencoder has no deviation. "
                "Give latents = mode."
            )

    def framings(self, data: Dataset) -> dict[str, str]:
        """The fingerprint of the framings of images, where conditions depend on them, for a manifest."""
        if self.text is None or not data.framings:
            return {}
        whole, cut = (self.text.of_size((*data.sizes[0], *framing)) for framing in ((), (1, 2, 3, 4)))
        used = any(not torch.equal(one, cut[name]) for name, one in whole.items())
        return {"framings": artefacts.digest(data.framings)} if used else {}

    @property
    def _fingerprints(self) -> dict[str, str]:
        """Fingerprints of codec and text encoder."""
        return {"codec": self.codec.fingerprint} | ({} if self.text is None else {"text": self.text.fingerprint})

    def read(self, data: Dataset, folder: Path, augmentation: Augmentation = PLAIN) -> Examples:
        """Return images with their captions from an encoding of these and perhaps others, as `encode` does.

        Raises:
            ConfigError: Latents are to be sampled, and there is no Gaussian posterior.
            MismatchError: The folder holds an encoding by other encoders.
            ArtefactError: It is missing or damaged, or lacks an image or mirror images.
        """
        self.require_posterior(augmentation.sampled)
        manifest = artefacts.read_verified(folder, KIND)
        for name, own in self._fingerprints.items():
            if manifest.inputs.get(name) != own:
                raise MismatchError(f"{folder} was encoded by another {name} than that of this base. Encode it again.")
        if augmentation.flip and not manifest.made.get("mirrored"):
            raise ArtefactError(f"{folder} has no mirror images, which training.flip needs. Encode the images again.")
        return self._read(data, folder, augmentation)

    def _read(self, data: Dataset, folder: Path, augmentation: Augmentation) -> Examples:
        """Return images from an encoding that was checked by hash, with what is needed of their posteriors."""
        examples = Examples.read_files(folder)
        missing = sorted(set(data.ids) - set(examples.ids))
        if missing:
            raise ArtefactError(f"{folder} has no encoding of {join_names(missing)}. Encode the images again.")
        examples = examples.ordered(data.ids)
        if isinstance(examples.values, Latents):
            examples = replace(examples, values=examples.values.needed(augmentation.sampled, augmentation.flip))
        return replace(examples, notes=self._notes(data))

    def encode_queries(self, data: Dataset) -> Examples:
        """Return images as queries: as the network gets whole originals, with their pictures and captions for pages."""
        if self.are_plain:
            pixels = data.tensor
            return Examples(data.ids, pixels.map(from_pixels) if isinstance(pixels, Ragged) else from_pixels(pixels))
        whole = data.with_fields(framings=())
        return replace(self.encode(whole), pictures=data.tensor, captions=self.captions(data))

    def captions(self, data: Dataset) -> tuple[str, ...]:
        """The captions of images as they are encoded, the empty one where there is none; empty for networks without."""
        return () if self.text is None else tuple(caption or "" for caption in data.captions)

    def _encode(self, data: Dataset, augmentation: Augmentation) -> Examples:
        """Encode images in memory; their latents are tensors where the mean is all that is needed."""
        values: Tensor | Ragged | Latents = data.tensor
        if not self.draws_pixels:
            groups = groups_of(data.pixels)
            parts = [self._latents(artefacts.to_tensor(data.pixels[group]), augmentation.flip) for group in groups]
            shards = {name: join_groups([Shards((part[name],)) for part in parts], groups) for name in parts[0]}
            needed = Latents(shards).needed(augmentation.sampled, augmentation.flip)
            means = join_groups([part[MEAN] for part in parts], groups)
            values = needed if len(needed.tensors) > 1 else means
        conditions = self.conditions(self.captions(data), data.framed_sizes)
        return Examples(data.ids, values, conditions, notes=self._notes(data))

    def _latents(self, pixels: Tensor, mirrored: bool) -> dict[str, Tensor]:
        """The posterior of pictures uint8 [n, C, H, W], and of their mirror images, by name as in `Latents`."""
        found = dict(zip((MEAN, DEVIATION), self.codec.posterior(pixels), strict=True))
        if mirrored:
            mirror = self.codec.posterior(pixels.flip(-1))
            found |= dict(zip((MIRRORED, MIRRORED_DEVIATION), mirror, strict=True))
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _write(self, data: Dataset, part: Path, mirrored: bool) -> None:
        """Write the encoding of images in the order of shapes and ids; shards that are there are kept."""
        sizes, pixels = data.sizes, data.pixels
        order = np.array(sorted(range(len(data)), key=lambda n: (sizes[n], data.ids[n])))
        tensors: dict[str, Any] = {}
        if self.draws_pixels:
            tensors[MEAN] = data.select(order).tensor
        else:
            tensors |= write_latents(
                part,
                groups_of(pixels, order),
                lambda rows: self._latents(artefacts.to_tensor(pixels[order[rows]]), mirrored),
            )
        if self.text is not None:
            distinct, rows = distinct_rows([self.captions(data)[n] for n in order])
            encode, place = self.text.conditions, part / CONDITIONS / CAPTIONS
            write_shards(place, len(distinct), lambda few: encode(distinct[few.start : few.stop]))
            tensors |= {ROWS + name: rows for name in read_shards(place)}
            for name, one in self._of_sizes([data.framed_sizes[n] for n in order], len(order)).items():
                tensors |= {CONDITIONS + name: one.values, ROWS + name: one.rows}
        write_example_files(part, [data.ids[n] for n in order], tensors)

    def conditions(self, texts: Sequence[str], sizes: Sequence[tuple[int, ...]] = ()) -> dict[str, Repeated]:
        """The conditions of a picture for each text, of its size or else that of the model; each distinct text once."""
        if self.text is None:
            return {}
        distinct, rows = distinct_rows(texts)
        of_text = {name: Repeated(values, rows) for name, values in self.text.conditions(distinct).items()}
        return of_text | self._of_sizes(sizes, len(texts))

    def _of_sizes(self, sizes: Sequence[tuple[int, ...]], count: int) -> dict[str, Repeated]:
        """The conditions of so many pictures of these sizes, or else that of the model; none where it isn't known."""
        sizes = sizes or (() if self.size is None else (self.size,) * count)
        if self.text is None or not sizes:
            return {}
        distinct, rows = distinct_rows(sizes)
        made = [self.text.of_size(size) for size in distinct]
        return {name: Repeated(torch.cat([one[name] for one in made]), rows) for name in made[0]}

    def prompted(self, prompts: Prompts | None, names: Sequence[str]) -> tuple[dict[str, Repeated], Guidance | None]:
        """Return the conditions of pictures SEED/INDEX that are drawn from prompts, and how they are guided."""
        if prompts is None or self.text is None:
            return {}, None
        guidance, prompts = None, prompts.completed(self.text.guidance)
        if prompts.scale != 1:
            rows = torch.zeros(len(names), dtype=torch.int64)
            away = {name: Repeated(one, rows) for name, one in self.text.unconditional(prompts.negative).items()}
            guidance = Guidance(prompts.scale, away | self._of_sizes((), len(names)), self.text.kept_length)
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
