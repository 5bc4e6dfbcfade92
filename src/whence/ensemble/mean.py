"""The mean prediction of an encoded ensemble, with other members for every row.

    mean(x_n, t_n) = Σ_m w_nm network_m(x_n, t_n),   w_nm = 1/|S_n| for the members m in S_n, else 0

A member evaluates all rows that include it, in canonical batches: of one fixed size, the last one padded
with zeros. A row's result then depends on that size, but not on the rows beside it, so an ablation that
is drawn together with a thousand others is bit for bit the one drawn alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import predict


@dataclass(frozen=True)
class MeanPrediction:
    """Mean prediction in float64, members added in ascending order.

    Attributes:
        networks: The networks by member.
        members: The members S_n of every row.
        batch_size: Rows in a canonical batch.

    Example:
        >>> class Scale(nn.Module):
        ...     def __init__(self, factor):
        ...         super().__init__()
        ...         self.factor = factor
        ...     def forward(self, x, t):
        ...         return type("Output", (), {"sample": self.factor * x})
        >>> mean = MeanPrediction({0: Scale(1.0), 1: Scale(3.0)}, [(0, 1), (1,)], batch_size=4)
        >>> mean(torch.ones(2, 1, 1, 1), torch.zeros(2)).flatten().tolist()
        [2.0, 3.0]
    """

    networks: Mapping[int, nn.Module]
    members: Sequence[Sequence[int]]
    batch_size: int

    @torch.inference_mode()
    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Mean outputs float64 [n, C, H, W] for x_t float32 [n, C, H, W] and t int64 [n]."""
        total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
        for member in sorted(self.networks):
            rows = torch.tensor([n for n, among in enumerate(self.members) if member in among], dtype=torch.long)
            if len(rows):
                rows = rows.to(x.device)
                total[rows] += predict(self.networks[member], x[rows], t[rows], self.batch_size)
        counts = torch.tensor([len(among) for among in self.members], dtype=torch.float64, device=x.device)
        return total / counts.reshape(-1, *[1] * (x.dim() - 1))
