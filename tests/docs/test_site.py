"""The site of the documentation: it is built without a warning, whole, and asks nothing of another host."""

import functools
import http.server
import os
import re
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

import whence

NAMES = runpy.run_path(str(Path(__file__).parent / "pages.py"))
PAGES, ROOT = NAMES["PAGES"], NAMES["ROOT"]
SHOWN = ["choose.html", "methods.html", "reference/ensemble.html", "gallery.html", "notebooks/contributors.html"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning is an error."""
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    paths = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_built(site):
    built = {str(file.relative_to(site).with_suffix(".md")) for file in site.rglob("*.html")}
    assert {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")} <= built


def test_every_page_has_one_place_in_the_navigation():
    def files(entry):
        return [entry] if isinstance(entry, str) else [file for part in entry for file in files_of(part)]

    def files_of(part):
        return [file for below in part.values() for file in files(below)] if isinstance(part, dict) else files(part)

    given = files(yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), yaml.SafeLoader)["nav"])
    assert len(given) == len(set(given))


def test_every_public_name_has_its_docstring_on_a_page(site):
    text = "".join(file.read_text("utf-8") for file in (site / "reference").glob("*.html"))
    missing = [name for name in whence.__all__ if f'id="whence.{name}"' not in text]
    assert missing == []


def test_doctests_are_shown_as_code(site):
    for file in (site / "reference").glob("*.html"):
        assert "<blockquote>" not in file.read_text("utf-8"), file.name


def test_the_page_of_methods_is_made_of_the_code(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "docs"))
    made = runpy.run_path(str(ROOT / "tools" / "docs" / "methods_page.py"))["methods_page"]()
    assert PAGES["docs/methods.md"] == made, "write it anew: python tools/docs/methods_page.py docs/methods.md"


def test_links_of_files_on_the_root_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target, anchor in re.findall(r"\]\(((?!https?:)[^)#]+)(#[^)]+)?\)", (ROOT / name).read_text("utf-8")):
            assert (ROOT / target).exists(), target
            heads = re.findall(r"^#+ (.*)$", PAGES.get(target, ""), re.MULTILINE)
            assert not anchor or anchor[1:] in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in heads]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address(site):
    """The site on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_pages_fit_and_ask_nothing_of_another_host(browser, address):
    """Each page is loaded in each width: where the width changes, the navigation glides into its place."""
    context, asked, complaints = browser.new_context(), [], []
    tab = context.new_page()
    tab.on("request", lambda call: asked.append(call.url))
    # What was asked for when the next page was opened is aborted.
    tab.on("requestfailed", lambda call: call.failure == "net::ERR_ABORTED" or complaints.append(call.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    for width, scheme in ((390, "light"), (1280, "dark")):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme=scheme)
        for page in SHOWN:
            tab.goto(f"{address}/{page}")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, (page, width, scheme)
            assert tab.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)"), page
    context.close()
    assert complaints == []
    assert all(url.startswith((address, "data:")) for url in asked), asked


def test_the_search_finds_a_page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{address}/index.html")
    # The script of the theme listens to keys, not to a value that is set.
    words, result = tab.locator(".md-search__input"), tab.locator(".md-search-result__item a").first
    words.click()
    words.press_sequentially("opt-out")
    assert "opt-out" in result.inner_text().lower()
    context.close()
