"""Embeddings of pictures by a vision model in a local folder, such as CLIP or DINO, and their likeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whence import artefacts, images
from whence.data import Dataset
from whence.diffusion.denoiser import pad
from whence.engine import DEFAULT
from whence.errors import ArtefactError, NotFiniteError
from whence.pretrained import quiet_transformers
from whence.scores.scores import Scores
from whence.similarity.similarity import Measure, comparable_pictures, similarity, similarity_scores

#: Pictures in a canonical batch; the last one is padded, so a result doesn't depend on the pictures beside it.
BATCH = 16
#: What messages say of a folder without such a model.
PROBLEM = "can't be used as a vision model"
#: Training images that are held as floats at a time.
CHUNK = 64 * BATCH


def embed(pictures: Tensor, folder: str | Path) -> Tensor:
    """Return what a vision model sees in pictures: float32 [n, d], each row of Euclidean length 1.

    For two rows a and b, ‖a - b‖² = 2 - 2 cos(a, b). Pictures are float32 [n, C, H, W] in [-1, 1], C = 1 or 3, and seen
    as 8-bit RGB. The folder is one that transformers wrote, such as a clone of a model on the hub.

    Raises:
        ArtefactError: The folder holds no vision model that can be used.
        NotFiniteError: An embedding is not finite.
    """
    return Embedder.load(folder)(pictures)


@dataclass(frozen=True, eq=False)
class Embedder:
    """A vision model and the way it wants pictures to be prepared."""

    folder: Path  # where it came from
    network: nn.Module  # CLIP's image tower with its projection, or any vision model with a pooled output
    processor: Any  # resizes, crops and normalises: the folder's own, or else CLIP's without a crop
    first_token: bool  # whether the embedding is the first token, because the folder has no weights for pooling

    @classmethod
    def load(cls, folder: str | Path) -> Embedder:
        """Return the model in a local folder, with errors as in `embed`; nothing is downloaded, unpickled or run."""
        folder = Path(folder)
        import transformers  # takes seconds, which other similarities needn't wait for

        if not (folder / "config.json").is_file():
            raise ArtefactError(f"{folder} is not a folder of a transformers model: it has no config.json.")
        local = {"local_files_only": True, "trust_remote_code": False}
        with quiet_transformers(folder, PROBLEM):
            network, info = transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
            )
        missing = sorted(info["missing_keys"])
        if not hasattr(network, "get_image_features") and network.main_input_name != "pixel_values":
            raise ArtefactError(f"{folder} holds a {type(network).__name__}, which doesn't look at pictures.")
        if any(not name.startswith("pooler.") for name in missing):
            raise ArtefactError(f"{folder} lacks the weights {', '.join(missing[:3])} ... of {type(network).__name__}.")
        with quiet_transformers(folder, PROBLEM):
            processor = _processor(folder, network, local)
        return cls(folder, network.eval().to(DEFAULT.device), processor, bool(missing))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights and the configuration."""
        files = [*self.folder.glob("*.safetensors"), *self.folder.glob("*config.json")]
        return artefacts.digest({file.name: artefacts.file_digest(file) for file in files})

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return embeddings of length 1, float32 [n, d], of pictures float32 [n, C, H, W] in [-1, 1]."""
        return nn.functional.normalize(self.features(pictures).double(), dim=1).float()

    @torch.inference_mode()
    def features(self, pictures: Tensor) -> Tensor:
        """Return embeddings as the model gives them, float32 [n, d], of pictures float32 [n, C, H, W] in [-1, 1].

        Raises:
            ArtefactError: The model refuses the pictures, or has no pooled output.
            DataError: The pictures are no floating point numbers.
            NotFiniteError: An embedding is not finite.
        """
        pictures = images.to_tensor(pictures)
        images.require_floats(pictures)
        rows = torch.cat([self._batch(batch) for batch in torch.split(pictures, BATCH)])
        if not torch.isfinite(rows).all():
            n = int((~torch.isfinite(rows)).any(1).nonzero()[0])
            raise NotFiniteError(f"The embedding of picture {n} by {self.folder} is not finite.")
        return rows

    def _batch(self, pictures: Tensor) -> Tensor:
        count, channels = pictures.shape[:2]
        padded = pad(pictures, BATCH)
        rgb = images.to_pixels(padded.expand(-1, 3, -1, -1) if channels == 1 else padded)
        try:
            ready = self.processor(images=list(rgb), input_data_format="channels_first", return_tensors="pt")
            embeddings = self._features(ready["pixel_values"].to(next(self.network.parameters()).device))
        except ValueError as error:
            raise ArtefactError(
                f"{self.folder} refuses pictures of size {tuple(pictures.shape[1:])}: {error}"
            ) from None
        if embeddings is None:
            raise ArtefactError(f"{self.folder} holds a {type(self.network).__name__}, which has no pooled output.")
        return embeddings.flatten(1)[:count].cpu()

    def _features(self, pixels: Tensor) -> Tensor | None:
        network: Any = self.network
        if hasattr(network, "get_image_features"):
            output = network.get_image_features(pixel_values=pixels)
        else:
            output = network(pixel_values=pixels)
        pooled: Tensor | None = output.last_hidden_state[:, 0] if self.first_token else output.get("pooler_output")
        return pooled


@dataclass(frozen=True, eq=False)
class EmbeddingSimilarity:
    """Likeness of embeddings e, and of embeddings ê = e / ‖e‖ of length 1.

    euclidean: -‖ê(x_q) - ê(x_n)‖₂, in [-2, 0];  cosine: ê(x_q) · ê(x_n);  dot: e(x_q) · e(x_n).
    Euclidean and cosine give one order. The training images are embedded once, at the first call. Dot and cosine are
    the baselines of D-TRAK's study (Zheng et al. 2024) with CLIP's embeddings.
    """

    data: Dataset  # training examples, N
    embedder: Embedder  # the vision model e
    measure: Measure = "euclidean"

    def __call__(self, pictures: Tensor, names: Sequence[str]) -> Scores:
        """Unsigned scores [Q, N] of queries float32 [Q, C, H, W] in [-1, 1]; a unit's is that of its closest image."""
        pictures = comparable_pictures(pictures, names)
        name = "embedding" if self.measure == "euclidean" else f"embedding-{self.measure}"
        return similarity_scores(
            similarity(self._embed(pictures), self.examples, self.measure),
            names,
            self.data,
            f"{name} {self.embedder.folder.resolve().name}",
            "likeness of embeddings",
            model=self.embedder.fingerprint,
        )

    @cached_property
    def examples(self) -> Tensor:
        """Embeddings of the training images, float32 [N, d]; of length 1, except for dot."""
        starts = range(0, len(self.data), CHUNK)
        chunks = [range(start, min(start + CHUNK, len(self.data))) for start in starts]
        return torch.cat([self._embed(self.data.images(rows)) for rows in chunks])

    def _embed(self, pictures: Tensor) -> Tensor:
        return self.embedder.features(pictures) if self.measure == "dot" else self.embedder(pictures)


def _processor(folder: Path, network: Any, local: dict[str, Any]) -> Any:
    """The folder's image processor; without one, CLIP's normalisation of the whole picture at the model's size."""
    from transformers import AutoImageProcessor, CLIPImageProcessorPil

    if (folder / "preprocessor_config.json").is_file():
        return AutoImageProcessor.from_pretrained(folder, backend="pil", **local)
    side = getattr(network.config, "vision_config", network.config).image_size
    return CLIPImageProcessorPil(size={"height": side, "width": side}, do_center_crop=False)
