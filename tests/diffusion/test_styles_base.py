"""The base `styles` that comes with Whence: its files, its encoders, its pictures and its name; and its training."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import whence
from whence import artefacts
from whence.attribution.queries import draw_queries
from whence.attribution.target import Target
from whence.config import SamplerConfig
from whence.diffusion.adapter_run import AdapterRun
from whence.diffusion.conditioner import TEXT
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.prompts import Prompts
from whence.diffusion.shipped_base import base_folder, base_name, shipped_bases
from whence.errors import ArtefactError

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

FOLDER = base_folder("styles")
RECIPE = json.loads(FOLDER.with_suffix(".json").read_text())
NAMES = [f"style {number}" for number in range(1, 13)]
#: SHA-256 of the hashes of all files.
FILES = "762bbf9ddf49ba380accc1ca114de2ba513195450e68ff14ada5cac5d63f68b6"


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return Encoders.of(FOLDER)


def test_the_files_are_those_of_the_recipe():
    found = {
        file.relative_to(FOLDER).as_posix(): artefacts.file_digest(file) for file in FOLDER.rglob("*") if file.is_file()
    }
    assert found == RECIPE["files"]
    assert artefacts.digest(found) == FILES
    assert {Path(name).suffix for name in found} <= {".json", ".safetensors", ".txt"}
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) == RECIPE["bytes"] <= 2_500_000


def test_the_base_agrees_with_its_pipeline():
    comparisons = list(PipelineCheck.open("styles", prompt="a three").compare())
    assert [one.what for one in comparisons] == ["embedded prompt", "latents", "loss", "drawn picture"]
    assert all(one.agrees for one in comparisons), comparisons


def test_the_autoencoder_draws_the_styles(encoders):
    test = whence.load("styles:test")
    drawn = encoders.codec.decode(encoders.codec.encode(torch.from_numpy(test.pixels)))
    error = np.square(drawn.astype(float) - test.pixels).mean()
    assert 10 * np.log10(255**2 / error) >= 24


def test_the_base_was_trained_on_rows_and_captions_that_adapters_do_not_have():
    base = whence.load("styles:base")
    assert not any("style" in caption for caption in base.captions)
    for split in ("train", "test"):
        assert not set(base.ids) & set(whence.load(f"styles:{split}").ids)
    assert "styles:base" in RECIPE["data"]


def test_captions_of_styles_have_distinct_embeddings(encoders):
    captions = sorted(set(whence.load("styles").captions))
    assert encoders.text.truncated(captions) == []
    words = encoders.text.encoders[0]._tokenizer._opened
    assert max(len(words(caption)["input_ids"]) for caption in captions) == 8
    embedded = encoders.text.conditions([f"a three in {name}" for name in NAMES])[TEXT].flatten(1)
    distances = torch.cdist(embedded, embedded) + 1e3 * torch.eye(12)
    assert distances.min() > 0.5 * embedded.norm(dim=1).mean() / len(embedded[0]) ** 0.5


def test_any_text_is_a_prompt(encoders):
    words = encoders.text.encoders[0]._tokenizer._opened
    assert words.convert_ids_to_tokens(words("a nine in style qoph")["input_ids"])[1:-1] == [
        f"{word}</w>" for word in ("a", "nine", "in", "style", "qoph")
    ]
    texts = ["", "a naïve ☃", "style " * 50, "a three in style bxyz"]
    assert torch.isfinite(encoders.text.conditions(texts)[TEXT]).all()


def test_the_base_draws_the_numeral_of_a_prompt():
    """Each picture is nearest, by its contrast, to the mean of the base pictures of its numeral."""
    base = whence.load("styles:base")
    digits = np.array([int(name) for name in base.classes])
    means = np.stack([contrast(base.pixels[digits == digit]).mean(0) for digit in range(10)])
    numerals = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    ids = tuple(f"0/{n}" for n in range(20))
    sampler = SamplerConfig(method="ddim", steps=20, clip=False)
    prompts = Prompts(tuple(f"a {numeral}" for numeral in numerals), guidance=3.0)
    drawn = draw_queries(DiffusionModel.load(FOLDER), ids, sampler, prompts).pictures.numpy()
    nearest = np.linalg.norm(contrast(drawn)[:, None] - means, axis=2).argmin(1)
    assert np.mean(nearest == np.arange(20) % 10) >= 0.8


def contrast(pixels):
    ground = np.median(pixels, axis=(2, 3), keepdims=True)
    distance = np.linalg.norm(pixels - ground, axis=1).reshape(len(pixels), -1)
    return distance / distance.max(1, keepdims=True)


def test_the_name_is_that_of_the_base_and_a_path_that_of_a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "styles" in shipped_bases()
    assert base_folder(Path("styles")) == base_folder("./styles") == Path("styles")
    for base in ("styles", "./styles", str(tmp_path / "sd")):
        assert base_folder(base_name(base_folder(base))) == base_folder(base)
    assert Target.open("styles").runs == (FOLDER,)
    with pytest.raises(ArtefactError, match="is no whole pipeline"):
        PipelineCheck.open("./styles")


def test_the_run_of_an_adapter_names_the_base(tmp_path):
    config = whence.Config().updated("training", steps=1, batch_size=2, checkpoints=1).updated("adapter", rank=1)
    data = whence.load("styles").select(range(4))
    manifest = whence.train(data, tmp_path / "lora", config, base="styles")
    assert manifest.facts["base"] == "styles"
    assert AdapterRun.open(tmp_path / "lora").base == FOLDER


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_can_be_made_again(tmp_path):
    """The command reaches the stated loss, on the autoencoder that comes with Whence."""
    script = Path(__file__).parents[2] / "benchmarks" / "styles_base.py"
    command = [script, "--out", tmp_path / "styles", "--autoencoder", FOLDER / "vae"]
    subprocess.run([sys.executable, *map(str, command)], check=True)
    again = json.loads((tmp_path / "styles.json").read_text())
    assert again["denoiser"] == RECIPE["denoiser"]
    assert again["files"].keys() == RECIPE["files"].keys()
    assert again["loss"]["held_out"] <= 1.02 * RECIPE["loss"]["held_out"]
