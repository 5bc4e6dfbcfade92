"""Commands that need no network import neither torch nor diffusers; `whence --version`, `doctor` and completion."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from whence.cli import doctor
from whence.credit.credit import Credit, Explained
from whence.scores.scores import Estimand, Scores

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "scipy.stats", "sklearn", "datasets", "matplotlib")
CODE = """
import json, sys
from whence.cli.app import main
sys.argv = ["whence", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
COMMANDS = {
    "help": ("--help",),
    "help of a group": ("ensemble", "--help"),
    "help of a command": ("attribute", "--help"),
    "version": ("--version",),
    "methods": ("methods",),
    "codebook": ("ensemble", "codebook", "--units", 30),
    "export": ("export", "{folder}/scores/trak", "--to", "{folder}/top.csv", "--top", 1),
    "bank show": ("bank", "show", "digits"),
    "credit statement": ("credit", "statement", "{folder}/credit", "--unit", "a"),
    "credit why-not": ("credit", "why-not", "{folder}/credit", "--unit", "a"),
    "report of credit": ("report", "{folder}/credit"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with scores of one method, and with shares by one estimator."""
    path = tmp_path_factory.mktemp("light")
    estimand = Estimand("loss", "weight", "this run", "none", "example")
    named = (("q",), ("a", "b"), (("u",), ("v",)), "trak", estimand, "positive is proponent", "sum")
    Scores(torch.tensor([[1.0, -2.0]]), *named, standard_error=torch.ones(1, 2), draws=8).write(
        path / "scores" / "trak", {}
    )
    explained = Explained("diversity", "Diversity", "bits", None, none=0.0, all=3.0)
    shares, replicates = np.array([[1.0, 2.0]]), np.ones((3, 1, 2), np.float32)
    credit = Credit("shapley", True, ("a", "b"), (("1",), ("2",)), (explained,), shares, replicates, {})
    credit.write(path / "credit" / "shapley", {}, {"estimator": "shapley", "efficient": True})
    return path


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_commands_without_a_network_import_nothing_heavy(words, folder):
    arguments = [str(word).format(folder=folder) for word in words]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert not code, done.stderr
    assert done.stdout
    assert not [name for name in HEAVY if name in modules]


def test_the_version(whence):
    told = whence("--version")
    assert (told.code, told.out) == (0, f"whence {version('whence')}\n")


def test_doctor_tells_versions_machine_and_what_a_feature_lacks(whence, monkeypatch):
    told = whence("doctor")
    assert told.code == 0, told.err
    assert f"torch         {torch.__version__}" in told.out
    assert "free in " in told.out
    monkeypatch.setitem(doctor.FEATURES, "no-such-package", "a feature")
    lacking = whence("doctor").out
    assert "no-such-packageis not installed" in lacking.replace(" is not", "is not")
    assert "a feature: lacks no-such-package: pip install 'whence[no-such-package]'" in lacking


def test_every_feature_of_doctor_has_its_extra():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(doctor.FEATURES) <= set(project["optional-dependencies"])


#: With it typer is told the shell, instead of looking for one among the processes that called it.
UNDETECTED = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"


def test_completion_lists_commands():
    completion = {"_WHENCE_COMPLETE": "complete_bash", "COMP_WORDS": "whence ensemble co", "COMP_CWORD": "2"}
    for words, environment, expected in (
        ((), completion, "codebook"),
        (("--show-completion", "bash"), {UNDETECTED: "1"}, "_WHENCE_COMPLETE=complete_bash"),
    ):
        command = [sys.executable, "-c", CODE, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
        assert expected in done.stdout.split()
