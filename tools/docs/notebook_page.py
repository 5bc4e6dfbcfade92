"""The notebooks of `docs/notebooks` with their outputs, as pages of Markdown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "docs" / "notebooks"


def notebook_pages() -> dict[str, str]:
    """Return the pages by path."""
    return {f"notebooks/{file.stem}.md": notebook_page(file) for file in sorted(FOLDER.glob("*.ipynb"))}


def notebook_page(file: Path) -> str:
    """Return a notebook as a page: texts, code and outputs in their order, and a link to the file below the title."""
    first, *cells = json.loads(file.read_text("utf-8"))["cells"]
    title, _, text = "".join(first["source"]).partition("\n")
    link = f'*A notebook, with the outputs of its last run: <a href="{file.name}" download>the file</a>.*'
    parts = [title, link, text.strip(), *(part for cell in cells for part in _cell_parts(cell))]
    return "\n\n".join(parts) + "\n"


def _cell_parts(cell: dict[str, Any]) -> list[str]:
    """The parts of a page that show a cell."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [_block(source, "python"), *map(_output, cell["outputs"])]


def _output(output: dict[str, Any]) -> str:
    """Return an output as HTML where it has such a form, or as a picture, or as text.

    Raises:
        ValueError: It has another form.
    """
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div class="output">\n{"".join(data["text/html"]).replace(_PANDAS, "<table>").strip()}\n</div>'
    if "image/svg+xml" in data:
        return _picture("svg+xml", base64.b64encode("".join(data["image/svg+xml"]).encode()).decode())
    if "image/png" in data:
        return _picture("png", "".join(data["image/png"]).replace("\n", ""))
    text = output.get("text", data.get("text/plain"))
    if text is None:
        raise ValueError(f"An output is of no form that a page can show: {output.get('output_type')}, {sorted(data)}.")
    return _block("".join(text), "text")


#: How tables of pandas begin; the site's own style is for tables without a class.
_PANDAS = '<table border="1" class="dataframe">'


def _picture(form: str, content: str) -> str:
    return f'<img src="data:image/{form};base64,{content}" alt="">'


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
