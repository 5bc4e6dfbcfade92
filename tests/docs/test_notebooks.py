"""The notebooks of the documentation: run from the first cell to the last, shown whole, and the same when run again."""

import ast
import importlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import whence

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / "tools" / "docs"
FILES = {file.stem: file for file in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))}
NOTEBOOKS = {name: json.loads(file.read_text("utf-8")) for name, file in FILES.items()}
LARGEST = 400_000
#: Relative and absolute difference of numbers in a second run.
RELATIVE, ABSOLUTE = 0.03, 0.005


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def printed(notebook: dict) -> str:
    """The text that all cells print."""
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


def unknown_names(code: str) -> list[str]:
    """Names of Whence in code that are not public: of the package itself, or of a module of it."""
    unknown = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "whence":
            unknown += [node.attr] * (node.attr not in whence.__all__)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "whence":
            module = importlib.import_module(node.module)
            names = [alias.name for alias in node.names]
            unknown += [name for name in names if name.startswith("_") or not hasattr(module, name)]
    return unknown


@pytest.mark.parametrize("name", FILES)
def test_every_cell_was_run_in_order_and_ended_well(name):
    cells = code_cells(NOTEBOOKS[name])
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []


@pytest.mark.parametrize("name", FILES)
def test_the_code_has_public_names_only(name):
    assert unknown_names("\n".join(map(source, code_cells(NOTEBOOKS[name])))) == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("whence.load('digits'); whence.losses", []),
        ("whence.loads('digits')", ["loads"]),
        ("from whence.diffusion.prompts import Prompts", []),
        ("from whence.diffusion.prompts import Prompt", ["Prompt"]),
        ("from whence.cli.demo import _draw", ["_draw"]),
    ],
)
def test_names_that_are_not_public_are_found(code, names):
    assert unknown_names(code) == names


@pytest.mark.parametrize("name", FILES)
def test_a_notebook_is_small_and_says_nothing_of_a_machine_or_another_host(name):
    text = FILES[name].read_text("utf-8")
    assert len(text.encode()) <= LARGEST
    assert not re.search(r"0x[0-9a-f]{6,}|/(home|root|tmp|Users|work)/", text)
    assert not re.search(r"(src|href)=\\?\"(?!data:|#)", text)


@pytest.mark.parametrize("name", FILES)
def test_the_page_shows_all_texts_code_and_outputs(name, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    page = runpy.run_path(str(TOOLS / "notebook_page.py"))["notebook_pages"]()[f"notebooks/{name}.md"]
    for cell in NOTEBOOKS[name]["cells"]:
        for line in source(cell).splitlines():
            assert line in page
    outputs = [output for cell in code_cells(NOTEBOOKS[name]) for output in cell["outputs"]]
    shown = page.count("\n```text\n") + page.count('\n<div class="output">\n') + page.count("\n<img src=")
    assert shown == len(outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_second_run_gives_the_same_numbers(name, tmp_path):
    command = [sys.executable, str(TOOLS / "notebooks.py"), str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    again, before = json.loads((tmp_path / f"{name}.ipynb").read_text("utf-8")), NOTEBOOKS[name]
    if again["metadata"]["run_with"] != before["metadata"]["run_with"]:
        pytest.skip(f"torch {torch.__version__} or this processor computes other numbers than those of the notebook")
    number = r"-?\d+\.?\d*"
    assert re.sub(number, "#", printed(again)) == re.sub(number, "#", printed(before))
    found, expected = (list(map(float, re.findall(number, printed(one)))) for one in (again, before))
    assert found == pytest.approx(expected, rel=RELATIVE, abs=ABSOLUTE)
