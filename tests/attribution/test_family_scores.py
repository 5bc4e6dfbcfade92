"""Scores of models of several families, end to end, and the further training of a model of classes."""

import json
import shutil

import numpy as np
import pytest
import torch

import whence
from whence.attribution.target import Target
from whence.config import Config
from whence.data import Dataset, load
from whence.diffusion.class_names import ID_TO_LABEL
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.training import train
from whence.engine import Engine
from whence.errors import ConfigError

CONFIG = whence.AttributionConfig(draws=8, compression={"width": 64})
CAPTIONS = {"stable_diffusion_xl": ("a", "b", "a", ""), "dit": ("dog", "cat", "3", "")}


def colours(captions) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    return Dataset(tuple("abcd"), pixels, tuple((id,) for id in "abcd"), captions)


@pytest.mark.parametrize("name", [pytest.param("stable_diffusion_xl", marks=pytest.mark.slow), "dit"])
def test_scores_of_a_model_of_latents(pipelines, tmp_path, name):
    folder = pipelines[name](tmp_path / name)
    target, data = Target.open(folder), colours(CAPTIONS[name])
    queries = target.queries("sample:2", steps=2, prompts=Prompts((CAPTIONS[name][0],), guidance=2.0))
    chosen = {"config": CONFIG, "parameters": "attn", "engine": Engine(1)}
    scores = whence.attribute(target, data, queries, "d-trak", **chosen)["d-trak"]
    assert scores.scores.shape == (2, 4)
    assert torch.isfinite(scores.scores).all()
    mixed = data.with_fields(captions=(CAPTIONS[name][1], *CAPTIONS[name][1:]))
    other = whence.attribute(target, mixed, queries, "d-trak", **chosen)["d-trak"]
    assert not torch.allclose(scores.scores[:, 0], other.scores[:, 0])


def test_a_model_of_classes_is_trained_further_and_explained(pipelines, tmp_path):
    digits = load("digits").select(range(12))
    folder = pipelines["class_unet"](tmp_path / "unet")
    names = tmp_path / "names.txt"
    names.write_text("\n".join("0123456789"))
    start = DiffusionModel.load(folder, classes=names)
    config = Config().updated("training", steps=4, batch_size=4, warmup=1, checkpoints=1)
    train(digits, tmp_path / "run", config, start=start)
    assert json.loads((tmp_path / "run" / "model_index.json").read_text())[ID_TO_LABEL]["7"] == "7"
    target = Target.open(tmp_path / "run")
    queries = target.queries("digits:test", grey=True).head(2)
    assert queries.conditions["class_labels"][[0]].tolist() == [int(load("digits:test").captions[0])]
    scores = whence.attribute(target, digits, queries, ["d-trak", "tracin"], config=CONFIG, engine=Engine(1))
    assert all(torch.isfinite(one.scores).all() for one in scores.values())
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(ConfigError, match="--guidance 1"):
        Target.open(copy).queries("sample:1", steps=2, prompts=Prompts(("3",), guidance=2.0))
    labels = Encoders.of(copy).encode(digits).conditions_of(range(12))["class_labels"]
    assert labels.tolist() == [int(caption) for caption in digits.captions]
