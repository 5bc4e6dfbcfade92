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
import sys
from whence.cli.app import main
sys.argv = ["whence", *sys.argv[1:]]
main()
"""
#: Runs the commands that its argument lists, one after the other, and says of each how it ended and what is imported.
ALL = """
import contextlib, io, json, sys
from whence.cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv, code = ["whence", *words], 0
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, printed.getvalue(), sorted(sys.modules)]))
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


@pytest.fixture(scope="module")
def ended(folder):
    """Exit code, output and imported modules after each command, of one process in which they follow each other."""
    words = [[str(word).format(folder=folder) for word in words] for words in COMMANDS.values()]
    done = subprocess.run([sys.executable, "-c", ALL, json.dumps(words)], capture_output=True, text=True, check=True)
    return dict(zip(COMMANDS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_without_a_network_import_nothing_heavy(name, ended):
    code, printed, modules = ended[name]
    assert not code
    assert printed
    assert not [heavy for heavy in HEAVY if heavy in modules]


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
