"""Conditions reach the network in the right rows: small conditional networks against slow obvious loops."""

import pytest
import torch
from torch import nn

from whence import artefacts
from whence.config import ModelConfig, SamplerConfig
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.ensemble.gram import draw_groups
from whence.ensemble.make_gram import gram_matrices
from whence.ensemble.model import Ensemble, MeanPrediction, NetworkMembers
from whence.ensemble.tangents import tangents

SIZE = (1, 4, 4)
SETS = [(0, 1, 2), (1,), (2, 0), (1, 2), (0,)]


class Conditional(nn.Module):
    """A network whose output depends on a label and an embedding of each row."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer, self.labels, self.text = nn.Conv2d(1, 1, 3, padding=1), nn.Embedding(7, 1), nn.Linear(3, 1)

    def forward(self, x, t, *, label, text):
        return (
            self.layer(x) * (1 + t.reshape(-1, 1, 1, 1) / 1000)
            + (self.labels(label) * self.text(text))[..., None, None]
        )


@pytest.fixture(scope="module")
def members() -> NetworkMembers:
    return NetworkMembers({m: Conditional(m).eval() for m in range(3)})


@pytest.fixture(scope="module")
def model(members) -> DiffusionModel:
    scheduler = DiffusionModel.new(ModelConfig(channels=(8,)), SIZE, seed=0).scheduler
    return DiffusionModel(members.networks[0], scheduler, SIZE)


@pytest.fixture(scope="module")
def conditions() -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    return {"label": torch.arange(5), "text": torch.randn(5, 3, generator=source)}


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(5, *SIZE, generator=torch.Generator().manual_seed(1))


def row(conditions, n):
    return {name: tensor[n : n + 1] for name, tensor in conditions.items()}


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_mean_prediction_of_each_row(members, conditions, pictures, batch_size):
    t = torch.arange(5) * 100
    outputs = MeanPrediction(members, SETS, batch_size, conditions)(pictures, t)
    for n, numbers in enumerate(SETS):
        alone = [members.networks[m](pictures[n : n + 1], t[n : n + 1], **row(conditions, n)) for m in numbers]
        assert torch.allclose(outputs[n], torch.stack(alone).double().mean(0)[0], atol=1e-6)


@pytest.mark.parametrize("batch", [3, 128])
def test_the_gram_matrices_of_each_picture(model, members, conditions, pictures, batch):
    names, draws, count = list("abcde"), Draws(0, model.process.timesteps), 9
    grams = gram_matrices(model, members, Examples(tuple(names), pictures, conditions), draws, count, batch)
    groups = draw_groups(count)
    for q, name in enumerate(names):
        expected = torch.zeros(8, 3, 3, dtype=torch.float64)
        for k in range(count):
            t, noise = draws([name], [k], SIZE)
            x = pictures[q : q + 1]
            noised, target = model.process.noised(x, t, noise), model.process.target(x, t, noise)
            residuals = [(members.networks[m](noised, t, **row(conditions, q)) - target).double() for m in range(3)]
            flat = torch.cat([residual.flatten(1) for residual in residuals])
            expected[groups[k]] += flat @ flat.T / 16 / groups.bincount()[groups[k]]
        assert torch.allclose(grams[q], expected.detach(), rtol=1e-5)


def test_pictures_and_tangents_do_not_depend_on_their_neighbours(model, members, conditions):
    sampler, names = SamplerConfig(steps=3, batch_size=4), [(0, index) for index in range(5)]
    together, J = tangents(model, members, sampler, names, conditions=conditions)
    for n in (0, 3):
        alone, tangent = tangents(model, members, sampler, names[n : n + 1], conditions=row(conditions, n))
        assert torch.allclose(together[n], alone[0], atol=1e-5)
        assert torch.allclose(J[:, n], tangent[:, 0], atol=1e-5)
    assert (together[0] - together[3]).abs().max() > 0.01


def test_members_are_hashed_once_in_a_process(ensemble, monkeypatch):
    checked, verified = [], artefacts.read_verified
    monkeypatch.setattr(artefacts, "read_verified", lambda path, kind: checked.append(kind) or verified(path, kind))
    for _ in range(3):
        Ensemble.open_unchanged(ensemble.path, ensemble.manifest.fingerprint)
    assert checked.count("model") == ensemble.codebook.members
