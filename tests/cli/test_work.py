"""The commands that workers on a shared file system do together, and the options --engine and --address."""

import shlex

import pytest

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
