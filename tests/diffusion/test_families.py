"""Families, with a second family: networks of two numbers, read by the name of their pipeline."""

import json

import pytest
import torch
from diffusers import DDPMScheduler

from whence.diffusion.families import family as families
from whence.diffusion.families.family import Family
from whence.diffusion.families.unet import UNET
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ModelError


class Affine(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.rand(2))

    def forward(self, x_t, t):
        return self.weights[0] * x_t + self.weights[1]


def read(folder):
    network = Affine()
    network.weights.data = torch.tensor(json.loads((folder / "weights.json").read_text()))
    return network.eval(), DDPMScheduler()


def write(network, _scheduler, folder):
    folder.mkdir()
    (folder / "weights.json").write_text(json.dumps(network.weights.tolist()))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "AffinePipeline", "model": [None, "Affine"]}))


AFFINE = Family(Affine, read, write, lambda _network: Affine(), pipelines=("AffinePipeline",))


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(families, "FAMILIES", dict(families.FAMILIES))
    families.register(AFFINE)


def affine() -> DiffusionModel:
    return DiffusionModel(Affine(), DDPMScheduler(), shape=(4,))


def test_a_model_of_a_family_is_saved_loaded_and_made_anew(registered, tmp_path):
    model = affine()
    model.save(tmp_path / "m")
    loaded = DiffusionModel.load(tmp_path / "m", shape=(4,))
    assert torch.equal(loaded.network.weights, model.network.weights)
    first, again, other = (model.untrained(seed).network.weights for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("index", "family"),
    [
        ({"_class_name": "AffinePipeline"}, AFFINE),
        ({"_class_name": "MyPipeline", "model": ["mine", "Affine"]}, AFFINE),
        ({"_class_name": "MyPipeline", "unet": ["diffusers", "UNet2DModel"]}, UNET),
        ({"_class_name": "AffinePipeline", "unet": ["diffusers", "UNet2DModel"]}, AFFINE),
    ],
)
def test_the_pipeline_says_the_family_else_the_network(registered, tmp_path, index, family):
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert families.family_of_folder(tmp_path) is family


def test_a_folder_of_no_family_names_all_that_are_known(registered, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "MyPipeline", "unet": ["mine", "Mine"]}))
    with pytest.raises(
        ArtefactError,
        match=r"has no UNet2DConditionModel or .* or UNet2DModel or Affine; its model_index.* says \['mine'",
    ):
        families.family_of_folder(tmp_path)


def test_a_network_of_no_family_is_not_made_anew():
    with pytest.raises(
        ModelError,
        match=r"A Affine can't be made anew; a .* or UNet2DModel can. Register a family for it",
    ):
        affine().untrained(0)
