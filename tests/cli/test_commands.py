"""The commands as a user runs them: from data to report on a tiny ensemble, and what each says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whence import artefacts

CONFIG = """
[model]
channels = [8]
[training]
batch_size = 4
save_every = 2
checkpoints = 1
[sampler]
steps = 2
batch_size = 4
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder of twelve 8x8 pictures by six artists, and settings for a tiny model."""
    root = tmp_path_factory.mktemp("workplace")
    (root / "images").mkdir()
    rows = ["file_name,artist"]
    for n in range(12):
        pixels = np.random.default_rng(n).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{n:02d}.png")
        rows.append(f"{n:02d}.png,artist {n % 6}")
    (root / "images" / "metadata.csv").write_text("\n".join(rows) + "\n")
    (root / "tiny.toml").write_text(CONFIG)
    return root


@pytest.fixture(scope="module")
def trained(workplace, printed_by) -> Path:
    """An ensemble of four members trained by the commands, with four samples."""
    out = workplace / "ens"
    train = ["train", workplace / "images", "--unit-column", "artist", "--members", 4, "--steps", 4]
    train += ["--config", workplace / "tiny.toml", "--out", out, "--workers", 1]
    printed_by("ensemble", *train)
    printed_by("ensemble", "sample", out, "--count", 4)
    return out


def test_one_model_is_a_diffusers_folder(whence, workplace):
    out = workplace / "single"
    command = ("train", workplace / "images", "--out", out, "--steps", 2, "--config", workplace / "tiny.toml")
    outcome = whence(*command)
    assert outcome.code == 0, outcome.err
    from diffusers import DDPMPipeline

    pipeline = DDPMPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(num_inference_steps=2).images[0].size == (8, 8)
    before = artefacts.read_manifest(out, "model").fingerprint
    assert whence(*command).code == 0
    assert artefacts.read_manifest(out, "model").fingerprint == before


def test_the_story_from_samples_to_report(whence, trained):
    again = whence("ensemble", "sample", trained, "--count", 4)
    assert again.code == 0
    assert "0/0 to 0/3" in again.out
    ablated = whence("ensemble", "ablate", trained, "--sample", "0/3", "--unit", "artist 1")
    assert ablated.code == 0, ablated.err
    assert "placebo" in ablated.out
    free = whence("ensemble", "sample", trained, "--count", 2, "--seed", 1, "--without", "artist 1")
    assert free.code == 0, free.err
    manifest = (
        json.loads((trained / "samples" / "1" / "manifest.json").read_text())
        if (trained / "samples" / "1").exists()
        else None
    )
    assert manifest is None, "pictures without a unit must not be taken for those of all members"
    page = whence("report", trained)
    assert page.code == 0, page.err
    html = (trained / "report.html").read_text()
    assert "0/3" in html
    assert "artist 1" in html


def test_nearest_units_are_those_of_the_closest_images(whence, trained):
    outcome = whence("ensemble", "ablate", trained, "--sample", "0/0-1", "--nearest", 1)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("distance") == 2


@pytest.mark.parametrize(
    "command",
    [
        ("train", "IMAGES", "--out", "OUT", "--config", "TOML"),
        ("train", "styles:base", "--out", "OUT", "--config", "TOML"),
        ("train", "styles:train-small", "--unit-column", "contributor", "--out", "OUT", "--config", "TOML"),
        ("ensemble", "train", "IMAGES", "--unit-column", "artist", "--members", 4, "--out", "OUT", "--config", "TOML"),
        ("ensemble", "sample", "ENS", "--count", 64, "--seed", 9),
        ("ensemble", "ablate", "ENS", "--sample", "0/2", "--unit", "artist 4"),
    ],
)
def test_plan_states_the_cost_and_starts_nothing(whence, workplace, trained, command):
    names = {
        "IMAGES": workplace / "images",
        "OUT": workplace / "planned",
        "TOML": workplace / "tiny.toml",
        "ENS": trained,
    }
    before = sorted(trained.rglob("*"))
    outcome = whence(*(names.get(word, word) for word in command), "--plan")
    assert outcome.code == 0, outcome.err
    for word in ("Time:", "Memory:", "Disk:", "Nothing was started"):
        assert word in outcome.out
    assert not (workplace / "planned").exists()
    assert sorted(trained.rglob("*")) == before


BAD = [
    (("train", "nowhere", "--out", "OUT"), 1, "nowhere"),
    (("train", "styles:dev", "--out", "OUT"), 1, "styles has no split 'dev'"),
    (("train", "styles", "--out", "OUT", "--unit-column", "artist"), 1, "there is label, caption, contributor"),
    (("train", "EMPTY", "--out", "OUT"), 1, "no images"),
    (("train", "IMAGES", "--out", "OUT", "--config", "missing.toml"), 1, "missing.toml does not exist"),
    (("train", "IMAGES", "--out", "OUT", "--steps", 0), 1, "training.steps"),
    (("train", "IMAGES", "--out", "OUT", "--unit-column", "owner"), 1, "artist"),
    (("ensemble", "train", "IMAGES", "--out", "OUT", "--members", 3), 1, "even number"),
    (("ensemble", "train", "IMAGES", "--out", "OUT", "--members", 4), 1, "too few for 12 units"),
    (("ensemble", "sample", "IMAGES"), 1, "is not a Whence ensemble"),
    (("ensemble", "sample", "ENS", "--count", 0), 1, "--count must be at least 1"),
    (("ensemble", "sample", "ENS", "--steps", 5000), 1, "1000 timesteps"),
    (("ensemble", "sample", "ENS", "--method", "euler"), 1, "euler"),
    (("ensemble", "sample", "ENS", "--method", "ddim"), 1, "sampler.method"),
    (("ensemble", "sample", "ENS", "--seed", 5, "--without", "artist 9"), 1, "no unit 'artist 9'"),
    (("ensemble", "ablate", "ENS", "--sample", "0/99", "--unit", "artist 1"), 1, "--count 100"),
    (("ensemble", "ablate", "ENS", "--sample", "zero", "--unit", "artist 1"), 1, "SEED/INDEX"),
    (("ensemble", "ablate", "ENS", "--sample", "0/1"), 2, "--nearest"),
    (
        ("ensemble", "ablate", "ENS", "--sample", "0/1", *(w for n in range(6) for w in ("--unit", f"artist {n}"))),
        1,
        "Ablate fewer units",
    ),
    (("report", "IMAGES"), 1, "is not a Whence ensemble"),
    (("train", "IMAGES", "--out", "TOML"), 1, "tiny.toml is a file; a directory is made for the results"),
    (("train", "IMAGES", "--out", "TOML", "--plan"), 1, "tiny.toml is a file; a directory is made for the results"),
    (("ensemble", "train", "IMAGES", "--out", "TOML/x", "--plan"), 1, "tiny.toml is a file; a directory is made"),
    (("ensemble", "sample", "ENS", "--steps", 3, "--plan"), 1, "Draw with another --seed, or delete"),
    (("ensemble", "prove", "ENS", "--image", "nosuch.png", "--out", "OUT"), 1, "nosuch.png does not exist."),
    (("ensemble", "prove", "ENS", "--image", "IMAGES", "--out", "OUT"), 1, "is a directory; an image file"),
]


@pytest.mark.parametrize(("command", "code", "text"), BAD, ids=[" ".join(map(str, row[0])) for row in BAD])
def test_bad_input_ends_with_a_message_and_writes_nothing(whence, workplace, trained, command, code, text):
    (workplace / "empty").mkdir(exist_ok=True)
    names = {"IMAGES": workplace / "images", "OUT": workplace / "bad", "ENS": trained, "EMPTY": workplace / "empty"}
    names |= {"TOML": workplace / "tiny.toml", "TOML/x": workplace / "tiny.toml" / "x"}
    before = {path for path in trained.rglob("*") if not path.name.endswith(".lock")}
    outcome = whence(*(names.get(word, word) for word in command))
    assert outcome.code == code
    assert text in outcome.err
    assert "Traceback" not in outcome.err
    assert not (workplace / "bad").exists()
    assert {path for path in trained.rglob("*") if not path.name.endswith(".lock")} == before
