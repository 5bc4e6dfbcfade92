"""The Python of the README and of some pages runs as they say; tests/docs has tests of their commands and figures."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import whence
from whence.diffusion.families import family

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
TINY = """
[model]
channels = [8]
[training]
steps = 2
batch_size = 8
[sampler]
steps = 2
"""


@pytest.fixture
def run_plainly(tmp_path, monkeypatch, capsys):
    """Run code as a script without an `if __name__` guard, as a reader would save it. Returns what it printed.

    It is the main module of this process, which has the libraries' imports of seconds behind it.
    """

    def run(code: str) -> str:
        (tmp_path / "tiny.toml").write_text(TINY)
        (tmp_path / "example.py").write_text(code)
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        runpy.run_path("example.py", run_name="__main__")
        return capsys.readouterr().out

    return run


def test_python_example_runs_as_a_plain_script(tmp_path, run_plainly):
    """With worker processes, which must not run the script again."""
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "members=16)" in code
    tiny = 'members=16, config=whence.read_config(Path("tiny.toml")), engine=whence.Engine(2))'
    for usual, small in {
        "members=16)": tiny,
        '"runs/single")': '"runs/single", whence.read_config(Path("tiny.toml")))',
        "draws=128": "draws=8",
        'whence.load("digits")': 'whence.load("digits").select(range(200))',
    }.items():
        assert usual in code
        code = code.replace(usual, small)
    printed = run_plainly("from pathlib import Path\n" + code)
    assert len(re.findall(r"\d+\.\d+", printed)) >= 2 + 5
    assert (tmp_path / "runs" / "ens" / "report.html").exists()


ATTRIBUTION = (Path(__file__).parent.parent / "docs" / "attribution.md").read_text("utf-8")


def test_a_method_of_ones_own_and_a_network_of_ones_own_run_as_the_docs_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    method, network, steps = re.findall(r"```python\n(.*?)```", ATTRIBUTION, re.DOTALL)
    assert len(method.splitlines()) < 40
    names: dict[str, Any] = {}
    exec(method, names)
    exec(network, names)
    exec(steps, names)
    assert set(names["quick"]) == {"trak", "das"}
    found = whence.attribute(
        names["model"],
        names["examples"],
        names["queries"],
        ["trak", names["LEAVE_ONE_OUT"]],
        config=whence.AttributionConfig(draws=8),
    )
    assert found["leave-one-out"].scores.shape == (1, 40)
    assert (found["leave-one-out"].scores.abs() >= found["trak"].scores.abs()).all()


EVALUATION = (Path(__file__).parent.parent / "docs" / "evaluation.md").read_text("utf-8")


def test_the_python_of_the_evaluation_page_runs(run_plainly, tiny_bank):
    """On a bank of 24 images in place of the shipped one."""
    found = evaluated(run_plainly, repr(str(tiny_bank.path)))
    assert all(-1 <= value <= 1 for value in found.values())


@pytest.mark.slow
def test_the_python_of_the_evaluation_page_tells_a_good_method(run_plainly):
    found = evaluated(run_plainly, '"digits"')
    assert 0.5 < found["tangent"] < 1
    assert 0.2 < found["pixel-cosine"] < 0.6


def evaluated(run_plainly, bank: str) -> dict[str, float]:
    """What the page's code prints of a bank."""
    code, _ = re.findall(r"```python\n(.*?)```", EVALUATION, re.DOTALL)
    for usual, small in {"draws=64": "draws=8", '"digits"': bank}.items():
        assert usual in code
        code = code.replace(usual, small)
    found = {name: float(value) for name, value in map(str.split, run_plainly(code).splitlines())}
    assert set(found) == {"tangent", "pixel-cosine"}
    return found


CREDIT = (Path(__file__).parent.parent / "docs" / "credit.md").read_text("utf-8")


@pytest.mark.slow
def test_the_python_of_the_credit_page_runs(run_plainly):
    code, *_ = re.findall(r"```python\n(.*?)```", CREDIT, re.DOTALL)
    for usual, small in {
        '"digits:test", unit_column="contributor")': '"digits:test", unit_column="label").select(range(100))',
        "coalitions=60": "coalitions=30",
        '"runs/single")\nwho': '"runs/single", whence.read_config(Path("tiny.toml")))\nwho',
        '"tangent")["tangent"]': '"tangent", config=whence.AttributionConfig(draws=8))["tangent"]',
        'config.toml"))': 'config.toml")), whence.StudyConfig(pictures=6, draws=2, sampler=SAMPLER)',
    }.items():
        assert usual in code
        code = code.replace(usual, small)
    sampler = "\nSAMPLER = whence.SamplerConfig(method='ddim', steps=2, batch_size=8)\n"
    assert "digit 3" in run_plainly(code.replace("import whence\n", f"import whence\n{sampler}", 1))


EXTENDING = (Path(__file__).parent.parent / "docs" / "extending.md").read_text("utf-8")


def test_a_model_family_in_one_file_runs_as_the_docs_say(run_plainly, monkeypatch):
    """A plain script trains, saves, opens and attributes a model of its own network and pipeline."""
    declared, use = re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL)
    assert len(declared.splitlines()) < 60
    monkeypatch.setattr(family, "FAMILIES", dict(family.FAMILIES))
    for usual, small in {
        "start=start)": 'whence.read_config(Path("tiny.toml")), start=start)',
        '"d-trak", engine=': '"d-trak", config=whence.AttributionConfig(draws=8), engine=',
    }.items():
        assert usual in use
        use = use.replace(usual, small)
    opened = "print(type(whence.DiffusionModel.load(Path('runs/plain')).network))"
    printed = run_plainly(declared + use + opened)
    assert "PlainNetwork" in printed
    assert len(re.findall(r"-?\d\.\d+ +± \d\.\d+", printed)) == 3


def test_it_is_short():
    assert len(README.splitlines()) < 100
