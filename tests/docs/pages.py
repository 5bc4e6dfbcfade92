"""The pages that people write: README and `docs/*.md`, as text by path from the root."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    str(file.relative_to(ROOT)): file.read_text("utf-8") for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
}


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
