"""Runs the notebooks of `docs/notebooks` and writes them with their outputs: `python tools/docs/notebooks.py OUT`.

With names behind OUT, such as `scores`, only these are run. All outputs come from this one run, in an empty folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent.parent / "docs" / "notebooks"
#: Seconds that a cell may take.
LONGEST = 600
#: Forms of an object, the best first.
FORMS = ("text/html", "image/svg+xml", "image/png", "text/plain")
#: Warnings that a reader can do nothing about: progress bars are not shown as widgets.
UNSHOWN = "ignore:IProgress not found"


def run_notebook(file: Path) -> nbformat.NotebookNode:
    """Return the notebook in a file after a run from the first cell to the last; old outputs are gone."""
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=LONGEST,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _keep_one_form(output)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, "run_with": versions()}
    nbformat.validate(notebook)
    return notebook


def versions() -> dict[str, str]:
    """Return what numbers of a training depend on, beside the code: the version of torch and its kind of kernels."""
    return {"torch": torch.__version__, "kernels": torch.backends.cpu.get_cpu_capability()}


def _keep_one_form(output: dict[str, Any]) -> None:
    """Of the forms of an object, keep the one that a page shows."""
    data = output.get("data", {})
    shown = next((form for form in FORMS if form in data), None)
    if shown:
        output["data"] = {shown: data[shown]}


if __name__ == "__main__":
    out, names = Path(sys.argv[1]), sys.argv[2:]
    os.environ["PYTHONWARNINGS"] = UNSHOWN
    for file in sorted(FOLDER.glob("*.ipynb")):
        if not names or file.stem in names:
            nbformat.write(run_notebook(file), out / file.name)
