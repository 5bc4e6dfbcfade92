"""Distillation: from a teacher's scores and the pictures of its queries to a ranker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whence import artefacts, images
from whence.data import Dataset
from whence.errors import ConfigError, DataError, MismatchError
from whence.lazy import torch
from whence.ragged import Ragged
from whence.scores.pictures import NamedPictures, ScorePictures
from whence.scores.scores import Scores
from whence.scores.stored import require_one
from whence.seeds import derived_seed
from whence.similarity.ranker import FILE, KIND, Ranker, RankerWeights, kernel, picture_features, tensors_of
from whence.statistics.ranks import Agreement, agreement
from whence.statistics.statistic import mean_of

if TYPE_CHECKING:
    from torch import Tensor

#: Widths of the likeness to a training image, widths of that to landmarks, and ridges among which is chosen.
NEAR, WIDTHS, RIDGES = (0.25, 0.5, 1.0), (0.5, 1.0, 2.0), (0.003, 0.03, 0.3)
#: Share of the teacher's queries that are held out, and queries that are needed.
HELD_OUT, LEAST = 0.2, 20
#: Numbers of an embedding.
DIMENSIONS = 128
#: Queries, one at a time, whose time is taken.
TIMED = 50


def distil(
    scores: str | Path,
    data: Dataset,
    out: str | Path,
    *,
    features: str = "pixels",
    dimensions: int = DIMENSIONS,
    seed: int = 0,
) -> Ranker:
    """Distil the scores of any method into a ranker, which needs no gradients: an artefact, made once.

    The teacher's scores of each query, over their root mean square, are fitted by the formula of `Ranker`: a by least
    squares, the rest by ridge regression on the likeness to the teacher's queries, cut to `dimensions`. The widths and
    the ridge are those with the best correlation on a fifth of the queries, which are held out; then all are fitted.

    Args:
        scores: OUT of `attribute`, of one method, or the folder of a method in it; the queries' pictures are beside it.
        data: The training examples that were scored.
        out: The folder of the ranker.
        features: What is compared: ``pixels`` or ``embedding:FOLDER`` of a vision model.
        dimensions: Numbers of an embedding, at most.
        seed: Seed of the choice of the queries that are held out.

    Returns:
        The ranker; its manifest has the agreement with the teacher on the queries that were held out.

    Raises:
        ArtefactError: There are no scores of one method, or no pictures beside them, or they are damaged.
        MismatchError: The scores are of other training images, or the folder holds another ranker.
        DataError: There are fewer than 20 queries, or pictures have several shapes.
        ConfigError: There are no such features, or an embedding has no numbers.
    """
    if dimensions < 1:
        raise ConfigError(f"An embedding has 1 number at least; given {dimensions}.")
    folder = require_one(Path(scores))
    teacher, pictures = Scores.read(folder), ScorePictures.beside(folder) or ScorePictures()
    manifest = artefacts.read_manifest(folder, "scores")
    inputs = {"teacher": manifest.fingerprint, "data": artefacts.digest(data.fingerprints)}
    stated = {name: manifest.made[name] for name in ("method", "estimand", "sign", "combine")}
    made = {"features": features, "dimensions": dimensions, "seed": seed, "teacher": stated}

    def build(part: Path) -> dict[str, Any]:
        rows = _teacher_rows(teacher, data, pictures.examples)
        queries, compute = _tensor(pictures.queries, teacher.queries), picture_features(features)
        chosen, held_out = _fit(compute(queries), compute(data.images(range(len(data)))), rows, dimensions, seed)
        artefacts.write_tensors(part / FILE, {name: t.contiguous() for name, t in tensors_of(chosen).items()})
        artefacts.write_table(part / "examples.parquet", {"id": list(data.ids)})
        return _facts(held_out) | {"queries": len(queries)}

    artefacts.ensure(Path(out), KIND, inputs=inputs, made=made, build=build)
    return Ranker.read(out, data)


def milliseconds(ranker: Ranker, pictures: Tensor) -> float:
    """Return the median time of one query, in milliseconds: features and scores of all training images."""
    seconds = []
    for picture in torch.split(pictures[: TIMED + 1], 1):
        start = time.perf_counter()
        ranker(picture, ["q"])
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds[1:]))


def _teacher_rows(teacher: Scores, data: Dataset, kept: NamedPictures) -> Tensor:
    """Return the teacher's scores over the root mean square of each query, float64 [Q, N] in the order of the data.

    Raises:
        MismatchError: The data have other images than were scored, or one that is kept beside the scores differs.
    """
    if set(teacher.examples) != set(data.ids):
        raise MismatchError(
            f"The scores are of {len(teacher.examples):,} training images, such as {teacher.examples[0]!r}; the data "
            f"have {len(data):,}, such as {data.ids[0]!r}. Give the data that were attributed."
        )
    for id in kept.ids:
        picture = kept.get(id)
        if picture is not None and not np.array_equal(picture, data.pixels[data.index_of(id)]):
            raise MismatchError(f"The training image {id!r} is another picture than the one that was scored.")
    place = {name: n for n, name in enumerate(teacher.examples)}
    rows = teacher.scores.double()[:, [place[id] for id in data.ids]]
    size = rows.square().mean(1, keepdim=True).sqrt()
    return rows / size.clamp_min(torch.finfo(torch.float64).tiny)


def _tensor(pictures: NamedPictures, names: Sequence[str]) -> Tensor:
    """Return the pictures of the teacher's queries, float32 [Q, C, H, W] in [-1, 1]."""
    found = [picture for picture in map(pictures.get, names) if picture is not None]
    if len(found) < max(LEAST, len(names)):
        raise DataError(
            f"A ranker is distilled from {LEAST} queries with pictures at least, better hundreds; these scores have "
            f"{len(found)} of {len(names)}. Attribute more: --queries sample:500."
        )
    if isinstance(pictures.values, Ragged):
        raise DataError("A ranker is for pictures of one shape; these queries have several.")
    return images.from_pixels(torch.from_numpy(np.stack(found)))


def _fit(
    queries: Tensor, examples: Tensor, teacher: Tensor, dimensions: int, seed: int
) -> tuple[RankerWeights, Agreement]:
    """Return the weights from all queries, and the agreement on held-out ones of those from the others."""
    centre = examples.mean(0)
    scale = ((examples - centre).norm(dim=1).mean() / examples.shape[1] ** 0.5).clamp_min(1e-6)
    f, c = (queries - centre) / scale, (examples - centre) / scale
    order = np.random.default_rng(derived_seed(seed, "held-out queries")).permutation(len(f))
    held, own = (torch.from_numpy(np.sort(rows)) for rows in np.split(order, [round(HELD_OUT * len(f))]))
    best: tuple[float, tuple[float, float, float], RankerWeights] | None = None
    for knobs in product(NEAR, WIDTHS, RIDGES):
        weights = fit_weights(f[own], c, teacher[own], knobs, dimensions, centre, scale)
        quality = float(_correlations(weights.scores(f[held]).double(), teacher[held]).mean())
        if best is None or quality > best[0]:
            best = quality, knobs, weights
    assert best is not None
    both = (best[2].scores(f[held]).double().numpy(), teacher[held].numpy())
    return fit_weights(f, c, teacher, best[1], dimensions, centre, scale), agreement([str(q) for q in held], *both)


def fit_weights(
    f: Tensor,
    c: Tensor,
    teacher: Tensor,
    knobs: tuple[float, float, float],
    dimensions: int,
    centre: Tensor,
    scale: Tensor,
) -> RankerWeights:
    """Return the weights for widths and a ridge, from scaled features f [Q, d] and c [N, d] and scores [Q, N].

    a = ⟨κ₀, T⟩ / ⟨κ₀, κ₀⟩ about the means of the columns, C = (K + ridge I)⁻¹ (T - a κ₀ - m) with the likeness K of the
    queries to each other, V the right singular vectors of K C with the largest values, and H = C V: ridge regression of
    reduced rank (Izenman 1975, "Reduced-rank regression for the multivariate linear model").
    """
    near_width, width, ridge = knobs
    near = kernel(f.double(), c.double(), near_width)
    centred = near - near.mean(0)
    likeness = (centred * (teacher - teacher.mean(0))).sum() / centred.square().sum().clamp_min(1e-12)
    rest = teacher - likeness * near
    mean = rest.mean(0)
    gram = kernel(f.double(), f.double(), width)
    coefficients = torch.linalg.solve(gram + ridge * torch.eye(len(f), dtype=torch.float64), rest - mean)
    fitted = gram @ coefficients
    embeddings = torch.linalg.svd(fitted, full_matrices=False).Vh[:dimensions].T
    head, widths = (coefficients @ embeddings).float(), torch.tensor([near_width, width])
    return RankerWeights(centre, scale, c, f, widths, likeness.float(), mean.float(), head, embeddings.float())


def _correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation of the rows of a and b, [Q]; 0 where a row is constant."""
    a, b = (rows - rows.mean(1, keepdim=True) for rows in (a, b))
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


def _facts(held_out: Agreement) -> dict[str, Any]:
    """The agreement with the teacher on held-out queries, with intervals over them, as facts for the manifest."""
    defined = held_out.correlations[~np.isnan(held_out.correlations)]
    numbers = {"spearman": mean_of(defined, 0.0), "top": mean_of(held_out.recalls, held_out.chance)}
    return {
        name: {"value": one.value, "low": one.interval.low, "high": one.interval.high} for name, one in numbers.items()
    }
