"""Data of trainers by the commands: a file of settings, folders N_NAME, tars, and the header of an adapter."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from whence.config import read_config
from whence.diffusion.adapters.adapter_file import write_adapter
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.diffusion.record import Record
from whence.scores.scores import Scores

CLAIMS = {
    "ss_network_dim": "2",
    "ss_resolution": "(16, 16)",
    "ss_noise_offset": "0.1",
    "ss_dataset_dirs": json.dumps({"3_sks cat": {"n_repeats": 3}, "1_dog": {"n_repeats": 1}}),
}


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8))


@pytest.fixture
def place(tmp_path, monkeypatch, stable_diffusion) -> Path:
    """Two cats of three visits, a dog of one, a pipeline `sd`, and an adapter with claims in its header."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stable_diffusion, "sd")
    for n, name in enumerate(("3_sks cat/0.png", "3_sks cat/1.png", "1_dog/2.png")):
        file = Path("data", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(n).save(file)
    Path("data/3_sks cat/0.caption").write_text("a cat\n")
    weights = load_file("sd/unet/diffusion_pytorch_model.safetensors")
    random = torch.Generator().manual_seed(0)
    layers = {}
    for name, weight in weights.items():
        if name.endswith("attn2.to_v.weight"):
            a, b = torch.randn(2, weight.shape[1], generator=random), torch.randn(len(weight), 2, generator=random)
            layers[name.removesuffix(".weight")] = LowRank(a, b, 0.5)
    write_adapter(Path(), AdapterWeights(layers), CLAIMS)
    Path("pytorch_lora_weights.safetensors").rename("style.safetensors")
    return tmp_path


TOML = """
[general]
resolution = 16
flip_aug = true
caption_dropout_rate = 0.25

[[datasets]]

[[datasets.subsets]]
image_dir = "data/3_sks cat"
num_repeats = 3
class_tokens = "sks cat"

[[datasets.subsets]]
image_dir = "data/1_dog"
class_tokens = "dog"
"""
UNITS = ("--unit-column", "subset")
TRAIN = ("--base", "sd", "--rank", 2, "--target", "attn2", "--steps", 2)
DRAWS = ("--draws", 8, "--width", 64, "--method", "gradient-dot", "--queries", "sample:1", "--sampler-steps", 2)


def test_a_file_of_the_trainer_is_trained_on_and_explained(whence, place):
    Path("cats.toml").write_text(TOML)
    result = whence("train", "cats.toml", *TRAIN, "--out", "run")
    assert result.code == 0, result.err
    assert "visits in an epoch by subset: 3_sks cat 6, 1_dog 1" in result.out
    settings = read_config(Path("run/config.toml")).training
    assert (settings.flip, settings.caption_dropout) == (True, 0.25)
    assert dict(zip(Record(Path("run")).ids, Record(Path("run")).weights, strict=True)) == pytest.approx(
        {"1_dog/2.png": 3 / 7, "3_sks cat/0.png": 9 / 7, "3_sks cat/1.png": 9 / 7}
    )
    result = whence("attribute", "run", "cats.toml", *DRAWS, "--unit-column", "subset", "--out", "scores")
    assert result.code == 0, result.err
    scores = Scores.read(Path("scores/gradient-dot"))
    assert scores.by_unit().examples == ("1_dog", "3_sks cat")
    other = whence("train", "cats.toml", *TRAIN, "--caption-dropout", 0.5, "--out", "other")
    assert "cats.toml says that caption_dropout is 0.25, and training.caption_dropout is 0.5" in other.err
    Path("cats.toml").write_text(TOML.replace("flip_aug = true", "shuffle_caption = true"))
    for command in (("train",), ("ensemble", "train"), ("bank", "build")):
        refused = whence(*command, "cats.toml", "--base", "sd", "--out", "refused")
        assert "cats.toml sets shuffle_caption, which no training of Whence does" in refused.err
    explained = whence("attribute", "sd", "cats.toml", *DRAWS, "--parameters", "attn2", "--out", "elsewhere")
    assert explained.code == 0, explained.err
    assert "cats.toml changes visits by caption_dropout_rate, shuffle_caption." in explained.out


@pytest.fixture
def bucketed(whence, place) -> tuple[str, ...]:
    """Pictures in buckets, and a run on them; the words that name both."""
    for n, size in enumerate(((30, 16), (16, 30))):
        picture(n).resize(size).save(f"data/{('3_sks cat', '1_dog')[n % 2]}/{n}.png")
    buckets = "enable_bucket = true\nmin_bucket_reso = 8\nmax_bucket_reso = 24\nbucket_reso_steps = 4\n"
    Path("cats.toml").write_text(TOML.replace("flip_aug", buckets + "flip_aug"))
    trained = whence("train", "cats.toml", *TRAIN, "--out", "run")
    assert trained.code == 0, trained.err
    assert "Images were scaled and cropped to several shapes: " in trained.out
    return ("run", "cats.toml", "--unit-column", "subset")


@pytest.mark.slow
def test_buckets_of_the_trainer_are_trained_on_and_explained(whence, bucketed):
    explained = whence("attribute", *bucketed, *DRAWS, "--out", "scores")
    assert explained.code == 0, explained.err
    assert whence("report", "scores").code == 0


@pytest.mark.slow  # Shares of an adapter are sums of scores, and scores on buckets are above.
def test_what_is_trained_on_buckets_is_shared_out(whence, bucketed):
    folder, few = ("--queries", "data/3_sks cat", "--resolution", 16, "--buckets", 4), ("--draws", 8)
    credit = whence("credit", "compute", *bucketed, *folder, *few, "--out", "credit")
    assert credit.code == 0, credit.err
    assert whence("credit", "statement", "credit", "--unit", "1_dog").code == 0
    plain = whence("attribute", "sd", "data", *folder, *few, "--width", 64, "--parameters", "attn2", "--out", "plain")
    assert plain.code == 0, plain.err
    assert "Note on the queries: Images were scaled and cropped to several shapes: " in plain.out


def test_images_of_several_shapes_are_refused_where_one_is_expected(whence, place):
    for n, size in enumerate(((30, 16), (16, 30))):
        picture(n).resize(size).save(f"data/1_dog/{n}.png")
    file = TOML.replace("flip_aug = true", "enable_bucket = true\nbucket_reso_steps = 4\nmin_bucket_reso = 8")
    Path("cats.toml").write_text(file)
    for command, what in ((("ensemble", "train"), "An ensemble"), (("bank", "build"), "A bank")):
        refused = whence(*command, "cats.toml", "--base", "sd", "--out", "refused")
        assert f"{what} takes images of one shape, and these have several" in refused.err
    likeness = whence("attribute", "sd", "cats.toml", *DRAWS[:4], "--method", "pixel", *DRAWS[6:], "--out", "likeness")
    assert "'pixel' is for pictures of one shape" in likeness.err
    sizes = whence("attribute", "sd", "data", *DRAWS, "--out", "x")
    assert "Pass --resolution to crop and scale all of them to one square, and --buckets too" in sizes.err
    alone = whence("train", "data", *TRAIN, "--buckets", 4, "--out", "x")
    assert "Buckets have about as many pixels as the square of the resolution: give --resolution 512" in alone.err


def test_a_model_is_checked_at_the_shape_of_a_bucket(whence, place):
    checked = whence("check", "sd", "--resolution", "24x16")
    assert checked.code == 0, checked.err
    assert "Pictures: 3x16x24, latents 4x8x12" in checked.out
    assert "--resolution is one side or WIDTHxHEIGHT" in whence("check", "sd", "--resolution", "24by16").err


@pytest.mark.slow
def test_folders_of_the_trainer_by_name(whence, place):
    plain = ("--resolution", 16, *DRAWS, "--parameters", "attn2")
    result = whence("attribute", "sd", "kohya:data", *plain, "--out", "scores")
    assert result.code == 0, result.err
    assert "visits in an epoch by subset: 1_dog 1, 3_sks cat 6" in result.out
    inside = whence("attribute", "sd", "kohya:data", *plain, "--out", "data/scores")
    assert "data/scores is inside of the data data" in inside.err
    assert "Give kohya:data to read repeats" in whence("attribute", "sd", "data", *plain, "--out", "plain").out


@pytest.mark.slow
def test_the_claims_of_a_header_are_shown_and_used_only_where_they_are_trusted(whence, place):
    shown = whence("check", "sd", "--adapter", "style.safetensors")
    assert "The header of style.safetensors claims, and nobody has verified:" in shown.out
    assert "    folder 3_sks cat: 3 visits of each in an epoch" in shown.out
    command = ("attribute", "sd", "data", "--adapter", "style.safetensors", *DRAWS)
    trusted = whence(*command, "--trust-header", "--out", "trusted")
    assert trusted.code == 0, trusted.err
    assert "not verified: resolution 16; visits by folder 3_sks cat 3, 1_dog 1; noise offset" in trusted.out
    facts = json.loads(Path("trusted/pictures/manifest.json").read_text())["facts"]
    assert "claims of its header, not verified: resolution 16; visits by folder" in facts["model"]
    Path("process.toml").write_text("[process]\nnoise_offset = 0.1\n")
    assert whence(*command, "--resolution", 16, "--config", "process.toml", "--out", "plain").code == 0
    plain, weighed = (Scores.read(Path(out, "gradient-dot")) for out in ("plain", "trusted"))
    expected = plain.scores * torch.tensor([3 / 7, 9 / 7, 9 / 7])
    assert torch.allclose(weighed.scores, expected, rtol=1e-5)
    several = whence(*command, "--trust-header", "--adapter", "style.safetensors", "--out", "x")
    assert "--trust-header is about one adapter; given 2" in several.err
    Path("lora").mkdir()
    shutil.copy("style.safetensors", "lora/a.safetensors")
    write_adapter(
        Path("lora"), AdapterWeights({"conv_in": LowRank(torch.ones(1, 4, 3, 3), torch.ones(8, 1, 1, 1), 1.0)})
    )
    silent = whence("attribute", "sd", "data", "--adapter", "lora", *DRAWS, "--trust-header", "--out", "x")
    assert "lora has no ss_... values in its header. Leave out --trust-header." in silent.err


def test_tars_are_attributed_to(whence, place):
    Path("tars").mkdir()
    for shard in range(2):
        with tarfile.open(f"tars/0000{shard}.tar", "w") as file:
            for n in range(2):
                stream = io.BytesIO()
                picture(2 * shard + n).save(stream, "PNG")
                members = {"png": stream.getvalue(), "txt": b"a picture"} | ({"jpg": b"no"} if shard + n == 2 else {})
                for ending, content in members.items():
                    header = tarfile.TarInfo(f"{shard}{n}.{ending}")
                    header.size = len(content)
                    file.addfile(header, io.BytesIO(content))
    options = ("--resolution", 16, *DRAWS, "--parameters", "attn2", "--out", "scores")
    result = whence("attribute", "sd", "tars/{00000..00001}.tar", *options)
    assert result.code == 0, result.err
    assert "1 example can't be read and was left out: 00001.tar: 11." in result.out
    assert Scores.read(Path("scores/gradient-dot")).examples == ("00", "01", "10")
