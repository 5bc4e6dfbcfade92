"""The mean of several adapters of one base as one adapter: the mean of ΔW, never of A and B apart.

    mean ΔW = 1/k Σ_m s B_m A_m = (s/k) [B_1 ... B_k] [A_1; ...; A_k]

The right side is an adapter of rank k r. It is exact. If that is more than the layer's own rank, or than the rank that
is asked for, the product is cut to its largest singular values: the nearest adapter of that rank (Eckart & Young 1936).
They follow from k r x k r matrices: with B = Q_b R_b and Aᵀ = Q_a R_a, B A = Q_b (R_b R_aᵀ) Q_aᵀ. Where all
members have the same A, the mean of B is exact at rank r.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.errors import ConfigError, MismatchError


def mean_adapter(adapters: Sequence[AdapterWeights], rank: int | None = None) -> tuple[AdapterWeights, float]:
    """Return the mean of ΔW of adapters as an adapter, and its error ‖ΔW' - mean ΔW‖ / ‖mean ΔW‖ over all layers.

    Args:
        adapters: Adapters of the same layers of one base, of any ranks.
        rank: The largest rank of a layer; None for as much as it takes to be exact.

    Returns:
        The adapter, and the error: 0 where no layer is cut, else the Frobenius norm of what is cut in proportion.

    Raises:
        ConfigError: There are no adapters, or the rank is not positive.
        MismatchError: They change other layers.

    Example:
        >>> ones = AdapterWeights({"to_q": LowRank(torch.ones(1, 2), torch.ones(3, 1))})
        >>> none = AdapterWeights({"to_q": LowRank(torch.ones(1, 2), torch.zeros(3, 1))})
        >>> mean, error = mean_adapter([ones, none])
        >>> mean.network["to_q"].delta()[0].tolist(), error
        ([0.5, 0.5], 0.0)
    """
    if not adapters or (rank is not None and rank < 1):
        raise ConfigError(f"A mean is of at least one adapter, at a rank from 1 on; given {len(adapters)} and {rank}.")
    names = adapters[0].network.keys()
    if any(adapter.network.keys() != names for adapter in adapters):
        raise MismatchError("The adapters change other layers of the base, so they have no mean as one adapter.")
    layers, cut, whole = {}, 0.0, 0.0
    for name in names:
        layers[name], lost, norm = _mean([adapter.network[name] for adapter in adapters], rank)
        cut, whole = cut + lost, whole + norm
    return AdapterWeights(layers, network_part=adapters[0].network_part), (cut / whole) ** 0.5 if cut else 0.0


def _mean(members: Sequence[LowRank], rank: int | None) -> tuple[LowRank, float, float]:
    """The mean of one layer, the square of what is cut, and the square of its norm."""
    first = members[0]
    if all(torch.equal(own.A, first.A) for own in members[1:]):
        b = torch.stack([own.scale * own.B.double() for own in members]).mean(0)
        joined = LowRank(first.A, b.float())
    else:
        b = torch.cat([own.scale * own.B.double() for own in members], 1) / len(members)
        joined = LowRank(torch.cat([own.A for own in members]), b.float())
    a, b = joined.A.double().flatten(1), joined.B.double().flatten(1)
    most = min(len(b), a.shape[1], rank or len(b))
    if len(a) <= most:
        return joined, 0.0, float((b @ a).square().sum())
    return _cut(joined, a, b, most)


def _cut(joined: LowRank, a: Tensor, b: Tensor, rank: int) -> tuple[LowRank, float, float]:
    """The nearest low-rank weights of a rank; A and B get the square roots of the singular values each."""
    (q_b, r_b), (q_a, r_a) = torch.linalg.qr(b), torch.linalg.qr(a.T)
    left, values, right = torch.linalg.svd(r_b @ r_a.T)
    root = values[:rank].sqrt()
    new_b, new_a = q_b @ left[:, :rank] * root, (q_a @ right.T[:, :rank] * root).T
    squares = values.square()
    shaped = LowRank(
        new_a.float().reshape(rank, *joined.A.shape[1:]), new_b.float().reshape(-1, rank, *joined.B.shape[2:])
    )
    exact = rank >= min(len(b), a.shape[1])  # no matrix of the layer's shape has a higher rank
    return shaped, 0.0 if exact else float(squares[rank:].sum()), float(squares.sum())
