"""The ranker: what a teacher's scores taught about pictures, so that others are ranked in milliseconds.

On disk: ``ranker.safetensors``, the ids of the training images in ``examples.parquet``, the rest in the manifest, which
names the teacher's scores and the training data by fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence import artefacts
from whence.artefacts import Manifest
from whence.data import Dataset
from whence.errors import ConfigError, MismatchError
from whence.lazy import torch
from whence.scores.pictures import ScorePictures
from whence.scores.scores import Estimand, Scores
from whence.similarity.similarity import comparable_pictures

if TYPE_CHECKING:
    from torch import Tensor

KIND, FILE = "ranker", "ranker.safetensors"
#: Side to which pixels are averaged, at most.
SIDE = 32
#: Prefix of features by a vision model, before its folder.
EMBEDDING = "embedding:"


@dataclass(frozen=True, eq=False)
class RankerWeights:
    """The numbers of a ranker, for N training images and features of d numbers; all float32.

    Attributes:
        centre: Mean of the features of the training images, [d].
        scale: Their mean distance from it, over √d, [].
        examples: Scaled features f of the training images, [N, d].
        landmarks: Scaled features f of the teacher's queries, [J, d].
        widths: Widths of the two likenesses: to training images, and to landmarks, [2].
        likeness: Weight a of the likeness to the training image, [].
        mean: Mean m of the teacher's scores that it leaves, [N].
        head: From likeness to landmarks to the embedding, H [J, k].
        embeddings: Embeddings v of the training images, [N, k].
    """

    centre: Tensor
    scale: Tensor
    examples: Tensor
    landmarks: Tensor
    widths: Tensor
    likeness: Tensor
    mean: Tensor
    head: Tensor
    embeddings: Tensor

    def scaled(self, features: Tensor) -> Tensor:
        """Return features [n, d] about the centre, in units of the scale."""
        return (features - self.centre) / self.scale

    def embed(self, f: Tensor) -> Tensor:
        """Return e_q = Σ_j κ(f_q, c_j) H_j, float32 [Q, k], of scaled features [Q, d]."""
        return kernel(f, self.landmarks, self.widths[1]) @ self.head

    def scores(self, f: Tensor) -> Tensor:
        """Return r_qn, float32 [Q, N], of scaled features [Q, d]."""
        near = kernel(f, self.examples, self.widths[0])
        return self.mean + self.likeness * near + self.embed(f) @ self.embeddings.T


@dataclass(frozen=True, eq=False)
class Ranker:
    """An attributor that was distilled from a teacher's scores.

    The score of training image n for query q is

        r_qn = m_n + a κ₀(f_q, f_n) + e_q · v_n,    e_q = Σ_j κ(f_q, c_j) H_j,    κ(f, c) = exp(-‖f - c‖² / (d h))

    with features f of the pictures, the teacher's queries c_j as landmarks, and widths h. It costs one pass over the
    features and no network. Sign: the teacher's. Unit: root mean squares of the teacher's scores of a query. `combine`
    is the teacher's. It says what the teacher would say, not what is true; its agreement is in the manifest.

    Source: kernel ridge regression (Saunders et al. 1998); that rankings of an attribution can be distilled into an
    embedding, see FastGDA (arXiv 2511.10721).
    """

    data: Dataset
    weights: RankerWeights
    manifest: Manifest

    @cached_property
    def features(self) -> Callable[[Tensor], Tensor]:
        """The features of pictures, before they are scaled."""
        return picture_features(self.manifest.made["features"])

    def embed(self, pictures: Tensor) -> Tensor:
        """Return the embeddings e, float32 [Q, k], of pictures float32 [Q, C, H, W] in [-1, 1]."""
        return self.weights.embed(self.weights.scaled(self.features(pictures)))

    def __call__(self, pictures: Tensor, names: Sequence[str]) -> Scores:
        """Return scores [Q, N] of queries float32 [Q, C, H, W] in [-1, 1] called `names`; errors as of `pixel`."""
        x = comparable_pictures(pictures, names, self.data)
        teacher = self.manifest.made["teacher"]
        stated = teacher["estimand"]
        return Scores(
            scores=self.weights.scores(self.weights.scaled(self.features(x))),
            queries=tuple(names),
            examples=self.data.ids,
            units=self.data.units,
            method=f"ranker of {teacher['method']}",
            estimand=Estimand(**stated | {"behaviour": f"{stated['behaviour']}, as {teacher['method']} would rank"}),
            sign=teacher["sign"],
            combine=teacher["combine"],
            pictures=ScorePictures.of(self.data),
        )

    @classmethod
    @artefacts.reader
    def read(cls, path: str | Path, data: Dataset) -> Ranker:
        """Return the ranker at `path`, checked by hash, for the training data that it was distilled on.

        Raises:
            ArtefactError: It is missing, unfinished or damaged.
            MismatchError: It is of other training data.
        """
        folder = Path(path)
        manifest = artefacts.read_verified(folder, KIND)
        if tuple(artefacts.read_table(folder / "examples.parquet")["id"]) != data.ids or (
            manifest.inputs["data"] != artefacts.digest(data.fingerprints)
        ):
            raise MismatchError(
                f"{folder} ranks other training images: fingerprint {manifest.inputs['data'][:12]}, these have "
                f"{artefacts.digest(data.fingerprints)[:12]}. Give the data that it was distilled with, in that order, "
                "or distil again with these."
            )
        return cls(data, RankerWeights(**artefacts.read_tensors(folder / FILE)), manifest)


def kernel(f: Tensor, c: Tensor, width: Tensor | float) -> Tensor:
    """Return κ = exp(-‖f - c‖² / (d h)) of rows f [n, d] and c [m, d], in [0, 1]: [n, m]; h is the width.

    Example:
        >>> values = kernel(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), 1.0)
        >>> [round(value, 3) for value in values[0].tolist()]
        [1.0, 0.368]
    """
    return torch.exp(-torch.cdist(f, c).square() / (f.shape[1] * width))


def picture_features(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function from pictures float32 [n, C, H, W] in [-1, 1] to features float32 [n, d].

    ``pixels``: the pixels, averaged to 32 a side at most; ``embedding:FOLDER``: what a vision model sees in them.

    Raises:
        ConfigError: There are no such features.
        ArtefactError: The folder holds no vision model.

    Example:
        >>> picture_features("pixels")(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 64])
    """
    if name == "pixels":
        return _pixels
    if name.startswith(EMBEDDING) and name != EMBEDDING:
        from whence.similarity.embedding import Embedder

        return Embedder.load(name.removeprefix(EMBEDDING))
    raise ConfigError(f"There are no features {name!r}; there are pixels and embedding:FOLDER.")


def _pixels(pictures: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    return torch.nn.functional.adaptive_avg_pool2d(pictures, (min(SIDE, height), min(SIDE, width))).flatten(1)


def tensors_of(weights: RankerWeights) -> dict[str, Any]:
    """Return the tensors of a ranker by name."""
    return {one.name: getattr(weights, one.name) for one in fields(weights)}
