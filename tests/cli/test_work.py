"""The commands that workers on a shared file system do together, and the options --engine and --address."""

import shlex

import numpy as np
import pytest
from PIL import Image

from whence import artefacts
from whence.engine.work_folder import Command, WorkFolder

TRAIN = "ensemble train digits --unit-column label --members 6 --steps 2 --config {config} --out {out}"
CONFIG = """[model]
channels = [8]
attention = 0
[training]
batch_size = 4
save_every = 2
checkpoints = 1
"""


@pytest.fixture
def train(tmp_path) -> list[str]:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return shlex.split(TRAIN.format(config=tmp_path / "tiny.toml", out=tmp_path / "ens"))


def test_a_worker_alone_does_the_command(whence, train, tmp_path):
    outcome = whence(*train, "--engine", "array")
    assert outcome.code == 0, outcome.err
    assert "is whole: 6 members" in outcome.out
    assert not (tmp_path / "ens.work").exists()
    nothing = whence("work", tmp_path / "ens")
    assert (nothing.code, nothing.out) == (1, "")
    assert "is waiting for nothing" in nothing.err


def test_work_does_the_command_that_is_waited_for(whence, train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    WorkFolder.of(tmp_path / "ens").begin(Command.of([*train, "--engine", "array"]))
    outcome = whence("work", "ens", "--shard", "2/2")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Helping with: whence ensemble train digits")
    assert "is whole: 6 members" in outcome.out


def test_work_refuses_another_version_and_other_commands(whence, train, tmp_path):
    folder = WorkFolder.of(tmp_path / "ens")
    folder.begin(Command(tuple(train), str(tmp_path), "0.0"))
    other = whence("work", tmp_path / "ens")
    assert (other.code, "Install the same version" in other.err) == (1, True)
    folder.begin(Command.of(["report", "x"]))
    other = whence("work", tmp_path / "ens")
    assert (other.code, "The recorded command is none of attribute, ensemble train" in other.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "array", "--workers", "2"], "Leave out --workers"),
        (["--address", "auto"], "add --engine ray"),
        (["--engine", "ray", "--address", "auto", "--workers", "2"], "The cluster at auto has the workers that it has"),
    ],
)
def test_options_that_do_not_go_together(whence, train, options, message):
    outcome = whence(*train, *options)
    assert outcome.code == 1
    assert message in outcome.err


def test_manifests_record_bad_images_that_were_left_out(whence, train, tmp_path):
    for n in range(8):
        (tmp_path / "images").mkdir(exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{n}.png")
    bad = tmp_path / "images" / "3.png"
    bad.write_bytes(bad.read_bytes()[:-30])
    run, scores = tmp_path / "run", tmp_path / "scores"
    command = ("train", tmp_path / "images", "--steps", 2, "--config", tmp_path / "tiny.toml", "--out", run)
    refused = whence(*command)
    assert (refused.code, "3.png" in refused.err, "--skip-bad" in refused.err) == (1, True, True)
    outcome = whence(*command, "--skip-bad")
    assert outcome.code == 0, outcome.err
    of_scores = ("attribute", run, tmp_path / "images", "--queries", bad.with_name("0.png"), "--draws", 8)
    outcome = whence(*of_scores, "--method", "pixel", "--out", scores, "--skip-bad")
    assert outcome.code == 0, outcome.err
    for path, kind in ((run, "model"), (scores / "request", "attribution")):
        [note] = artefacts.read_manifest(path, kind).facts["notes"]
        assert note.startswith("1 example can't be read and was left out: ")
        assert "3.png" in note
