"""`whence audit ...`, as a user runs it."""

import numpy as np
import pytest
from PIL import Image

from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.diffusion.training import train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Thirty digits of two artists with captions as images, a run on them, and held-out digits."""
    root = tmp_path_factory.mktemp("audit")
    for name, data in {"images": load("digits"), "held-out": load("digits:test")}.items():
        (root / name).mkdir()
        rows = ["file_name,artist,text"]
        for n, pixels in enumerate(np.asarray(data.pixels[:30, 0])):
            Image.fromarray(pixels).save(root / name / f"{n:02d}.png")
            rows.append(f"{n:02d}.png,{'anna' if n % 2 else 'ben'},digit {data.captions[n]}")
        (root / name / "metadata.csv").write_text("\n".join(rows))
    training = TrainingConfig(steps=6, batch_size=10, save_every=6, checkpoints=1, warmup=1)
    train(load(root / "images"), root / "run", Config(model=ModelConfig(channels=(8,), attention=0), training=training))
    return root


@pytest.mark.parametrize("command", [(), ("data",), ("membership",), ("memorisation",)])
def test_help(whence, command):
    outcome = whence("audit", *command, "--help")
    assert outcome.code == 0
    assert "whence audit" in outcome.out


def test_data_has_a_table_a_page_and_lists_for_trainers(whence, place):
    words = ("--unit-column", "artist", "--draws", 8, "--workers", 1, "--out", place / "audit")
    outcome = whence("audit", "data", place / "run", place / "images", *words, "--leave-out", 3, "--by", "loss")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("How often these numbers are wrong on your pictures is not known.")
    assert "Largest by self_influence" in outcome.out
    assert "Largest by copies" not in outcome.out
    other = whence("audit", "data", place / "run", place / "images", "--resolution", 16, "--out", place / "other")
    assert "same options, such as --resolution 8" in other.err
    assert "anna" in (place / "audit" / "data.html").read_text("utf-8")
    assert len((place / "audit" / "leave-out.txt").read_text().split()) == 3
    assert len((place / "audit" / "metadata.csv").read_text().strip().splitlines()) == 28
    assert len((place / "audit" / "data" / "images.csv").read_text().strip().splitlines()) == 31
    unknown = whence("audit", "data", place / "run", place / "images", *words, "--leave-out", 3, "--by", "size")
    assert unknown.code == 1
    assert "no number 'size'" in unknown.err


def test_membership_says_how_often_it_is_wrong_and_what_it_takes(whence, place):
    words = ("--images", place / "images", "--out", place / "membership", "--draws", 8)
    outcome = whence("audit", "membership", place / "run", *words, "--controls", place / "held-out")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("No answer: 30 comparison pictures were given; 198 are needed")
    assert "30 comparison pictures were given" in (place / "membership" / "membership.html").read_text("utf-8")
    looser = whence(
        "audit", "membership", place / "run", *words, "--controls", place / "held-out", "--level", 0.2, "--workers", 1
    )
    assert looser.out.startswith("This test ")
    assert "of 15 pictures that the model never saw" in " ".join(looser.out.split())
    alone = whence("audit", "membership", place / "run", "--images", place / "images", "--out", place / "alone")
    assert alone.code == 1
    assert "--controls FOLDER" in alone.err


def test_memorisation_draws_and_compares(whence, place):
    words = (place / "images", "--count", 3, "--sampler-steps", 3, "--out", place / "memorisation", "--workers", 1)
    outcome = whence("audit", "memorisation", place / "run", *words, "--held-out", place / "held-out")
    assert outcome.code == 0, outcome.err
    assert "of 3 pictures about 0.1 would be called a copy by mistake (3.2%)" in " ".join(outcome.out.split())
    assert "of 3 drawn pictures" in " ".join(outcome.out.split())
    assert (place / "memorisation" / "memorisation.html").exists()
    nothing = whence("audit", "memorisation", place / "run", "--count", 3, "--out", place / "nothing")
    assert nothing.code == 1
    assert "Name them" in nothing.err


@pytest.mark.parametrize("command", ["data", "membership", "memorisation"])
def test_plans_start_nothing(whence, place, command):
    words = {
        "data": (place / "images",),
        "membership": ("--images", place / "images", "--controls", place / "held-out"),
        "memorisation": (place / "images", "--sampler-steps", 3),
    }[command]
    outcome = whence("audit", command, place / "run", *words, "--out", place / f"plan-{command}", "--plan")
    assert outcome.code == 0, outcome.err
    assert "Nothing was started" in outcome.out
    assert not (place / f"plan-{command}" / command).exists()
