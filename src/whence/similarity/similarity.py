"""How alike two vectors are, and scores that state it. A similarity is not an influence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from whence.data import Dataset
from whence.errors import DataError
from whence.images import named_pictures
from whence.lazy import torch
from whence.scores.pictures import ScorePictures
from whence.scores.scores import Estimand, Scores

if TYPE_CHECKING:
    from torch import Tensor

#: The three measures of the baselines of D-TRAK's study (Zheng et al. 2024).
Measure = Literal["euclidean", "dot", "cosine"]


def similarity(queries: Tensor, examples: Tensor, measure: Measure) -> Tensor:
    """Return the likeness of queries v_q [Q, d] to examples v_n [n, d], larger where more alike: float64 [Q, n].

    euclidean: -‖v_q - v_n‖₂;  dot: v_q · v_n;  cosine: v_q · v_n / (‖v_q‖ ‖v_n‖), and 0 where a vector is 0.

    Example:
        >>> a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])
        >>> [round(similarity(a, b, measure).item(), 6) for measure in ("euclidean", "dot", "cosine")]
        [-4.0, 9.0, 0.6]
    """
    q, n = queries.double(), examples.double()
    if measure == "euclidean":
        return -torch.cdist(q, n, compute_mode="donot_use_mm_for_euclid_dist")
    if measure == "cosine":
        q, n = torch.nn.functional.normalize(q), torch.nn.functional.normalize(n)
    return q @ n.T


def similarity_scores(
    values: Tensor,
    names: Sequence[str],
    data: Dataset,
    method: str,
    behaviour: str,
    *,
    model: str = "none",
    combine: Literal["sum", "max"] = "max",
) -> Scores:
    """Return unsigned scores [Q, N] of a method; `model` is the fingerprint of the vision model, if there is one."""
    return Scores(
        scores=values.float(),
        queries=tuple(names),
        examples=data.ids,
        units=data.units,
        method=method,
        estimand=Estimand(behaviour, "none: a similarity", "none", model, "example"),
        sign="unsigned",
        combine=combine,
        pictures=ScorePictures.of(data),
    )


def comparable_pictures(pictures: Any, names: Sequence[str], data: Dataset | None = None) -> Tensor:
    """Return queries as a tensor, checked as by `named_pictures`, with a tolerance for pictures drawn without clipping.

    Raises:
        ConfigError: A name is no text.
        DataError: They are no pictures in [-1, 1], or have another size than the training images `data`.
    """
    x = named_pictures(pictures, names, tolerance=0.5)
    if data is not None and tuple(x.shape[1:]) != tuple(data.size):
        raise DataError(f"The queries are {tuple(x.shape[1:])}, the training images {data.size} (C, H, W).")
    return x
