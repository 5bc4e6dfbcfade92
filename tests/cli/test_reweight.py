"""`whence reweight`, as a user runs it."""

import numpy as np
import pytest
from PIL import Image

from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.diffusion.training import train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Twenty digits and twelve others as images with labels, and a run on the first."""
    root = tmp_path_factory.mktemp("reweight")
    for name, data, count in (("images", load("digits"), 20), ("held-out", load("digits:test"), 12)):
        (root / name).mkdir()
        rows = ["file_name,label"]
        for n in range(count):
            Image.fromarray(np.asarray(data.pixels[n, 0])).save(root / name / f"{n:02d}.png")
            rows.append(f"{n:02d}.png,{'even' if n % 2 else 'odd'}")
        (root / name / "metadata.csv").write_text("\n".join(rows))
    training = TrainingConfig(steps=4, batch_size=10, save_every=4, checkpoints=1, warmup=1, clip_norm=0.0)
    config = Config(model=ModelConfig(channels=(16,), attention=0), training=training)
    train(load(root / "images"), root / "run", config)
    return root


def test_it_tells_what_was_promised_and_what_was_measured(whence, place):
    words = ("--held-out", place / "held-out", "--worst-of", "label", "--draws", 8, "--seeds", 2, "--workers", 1)
    command = ("reweight", place / "run", place / "images", *words, "--out", place / "fair")
    plan = whence(*command, "--plan")
    assert plan.code == 0, plan.err
    assert "Nothing was started" in plan.out
    assert not (place / "fair" / "run").exists()
    outcome = whence(*command)
    assert outcome.code == 0, outcome.err
    assert "worst group  promised +" in outcome.out
    assert "(worst before)" in outcome.out
    assert "In models of other seeds" in outcome.out or "cannot be told" in outcome.out
    assert (place / "fair" / "run" / "model_index.json").exists()
    assert len((place / "fair" / "weights.csv").read_text().split()) == 21
    assert whence(*command).out == outcome.out


def test_what_is_refused(whence, place):
    words = ("--held-out", place / "held-out", "--out", place / "other")
    outcome = whence("reweight", place / "run", place / "images", *words, "--behaviour", "diversity")
    assert outcome.code == 1
    assert "Give held-out-fit" in outcome.err
    alone = whence("reweight", place / "run", place / "images", *words, "--worst-of", "unit")
    assert alone.code == 1
    assert "has one held-out picture" in alone.err
