"""Tiny runs in double precision."""

from functools import cached_property

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from whence.config import Config, TrainingConfig
from whence.data import load
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.training import request_of
from whence.diffusion.visits import VisitSource
from whence.gradients.draw_sources import OwnDraws
from whence.metagradient.query_losses import QueryLosses
from whence.metagradient.replay import Replay
from whence.metagradient.weighted_loss import WeightedLoss

UNET = {"channels": (8, 8), "layers": 1, "attention": 4}
SETTINGS = {"batch_size": 8, "warmup": 10, "learning_rate": 3e-3, "flip": True, "weight_decay": 1e-2, "ema": 0.9}


class KeptVisits(VisitSource):
    """Visits that are made once."""

    @cached_property
    def kept(self):
        return [super(KeptVisits, self).__call__(step) for step in range(self.config.steps)]

    def __call__(self, step, most=None):
        return self.kept[step]


class Small(nn.Module):
    """Two convolutions, a group normalisation and an embedding of the timestep."""

    def __init__(self):
        super().__init__()
        self.enter, self.norm, self.leave = nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 3)
        self.time = nn.Linear(2, 4)

    def forward(self, x_t, t):
        at = t[:, None].to(x_t) / 1000
        hidden = self.norm(self.enter(x_t)) + self.time(torch.cat([at, at.square()], 1))[:, :, None, None]
        return self.leave(nn.functional.silu(nn.functional.pad(hidden, (1, 1, 1, 1))))


@pytest.fixture(scope="session")
def images():
    return load("digits").select(np.arange(12))


@pytest.fixture(scope="session")
def make_replay(images):
    """Returns a replay of a tiny run in float64 and the losses of three queries; of a UNet with attention on demand."""

    def make(unet=False, **settings):
        training = TrainingConfig(**SETTINGS | settings)
        torch.manual_seed(0)
        if unet:
            model = request_of(images, Config(model=UNET, training=training)).model()
        else:
            model = DiffusionModel(Small(), DDPMScheduler(), shape=(1, 8, 8))
        model.network.double().train()
        weights = torch.linspace(0.5, 1.5, len(images), dtype=torch.float64)
        replay = Replay.of(WeightedLoss(model), KeptVisits(Examples.of(images), training, model.process), weights)
        queries = Examples(("a", "b", "c"), load("digits").images([20, 21, 22]))
        return replay, QueryLosses(replay.loss, queries, OwnDraws(Draws(5)), 16)

    return make
