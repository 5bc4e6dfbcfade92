from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from whence.config import ModelConfig
from whence.diffusion.model import DiffusionModel
from whence.gradients.layers import coverage


class Plain(nn.Module):
    """A denoiser of [n, 2, 4, 4] that has every kind of layer, one of them called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.GroupNorm(2, 6)
        self.twice = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.time = nn.Embedding(1000, 6)
        self.token_norm = nn.LayerNorm(6)
        self.token = nn.Linear(6, 6)
        self.rms = nn.RMSNorm(6)
        self.last = nn.Conv2d(6, 2, 1, bias=False)

    def forward(self, x, t):
        h = self.relu(self.first(x)) + self.time(t)[:, :, None, None]
        h = self.twice(torch.tanh(self.twice(self.norm(h))))
        tokens = self.rms(torch.tanh(self.token(self.token_norm(h.flatten(2).transpose(1, 2)))))
        return self.last(h + tokens.transpose(1, 2).reshape(h.shape))


@dataclass(frozen=True)
class Case:
    """A network with a batch for it."""

    network: nn.Module
    x_t: Tensor
    t: Tensor

    @property
    def cover(self):
        return coverage(self.network)


def _unet(attention: int) -> nn.Module:
    config = ModelConfig(channels=(8, 16), groups=4, attention=attention)
    return DiffusionModel.new(config, (1, 8, 8), seed=0).network


NETWORKS = {"plain": Plain, "unet": lambda: _unet(0), "unet with attention": lambda: _unet(8)}


@pytest.fixture(scope="session", params=["plain", pytest.param("unet", marks=pytest.mark.slow), "unet with attention"])
def case(request) -> Case:
    """Six rows and a network whose biases and norms aren't trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS[request.param]().eval()
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
        size = (2, 4, 4) if request.param == "plain" else (1, 8, 8)
        return Case(network, torch.randn(6, *size), torch.tensor([0, 3, 100, 500, 900, 999]))
