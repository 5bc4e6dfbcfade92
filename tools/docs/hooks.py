"""What mkdocs does beside copying `docs/`: pages made of the code, and of files of the repository's root."""

from __future__ import annotations

from pathlib import Path

from command_page import command_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from notebook_page import notebook_pages
from reference_page import GROUPS, reference_pages

ROOT = Path(__file__).parent.parent.parent
#: Pages of the root by their path in the site.
ROOT_PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: the reference, the commands."""
    python = [{title: f"reference/{file}.md"} for file, (title, *_) in GROUPS.items()]
    commands = [{"whence": "commands/index.md"}]
    commands += [{f"whence {Path(path).stem}": path} for path in sorted(command_pages()) if path != "commands/index.md"]
    at = [title for entry in config.nav for title in entry].index("Methods") + 1
    config.nav.insert(at, {"Reference": [{"Python": python}, {"Commands": commands}]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file in `docs/`."""
    root = {page: (ROOT / file).read_text("utf-8").replace("](docs/", "](") for page, file in ROOT_PAGES.items()}
    for path, text in {**reference_pages(), **command_pages(), **notebook_pages(), **root}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links to notebooks lead to their pages."""
    return markdown.replace(".ipynb)", ".md)")
