"""Figures that pages quote are those that the benchmarks wrote."""

import json
import re
import runpy
from pathlib import Path

import pytest

from whence.evaluation.leaderboard.page import rank_methods
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.leaderboard.tables import section_table

NAMES = runpy.run_path(str(Path(__file__).parent / "pages.py"))
PAGES, DOCS = NAMES["PAGES"], NAMES["ROOT"] / "docs"
FIGURES = {file.stem: json.loads(file.read_text("utf-8")) for file in (DOCS / "figures").glob("*.json")}
NUMBER = r"-?(?:\d[\d,]*)?\.?\d+%?"
QUOTE = re.compile(rf"({NUMBER})(?: \(({NUMBER}) to ({NUMBER})\))?<!-- figure: (.*?) -->")
QUOTED = [(page, quote.group(), *quote.groups()) for page, text in PAGES.items() for quote in QUOTE.finditer(text)]
#: Pages on which every number with a point or a percent sign is a quoted figure.
WHOLLY_QUOTED = ["docs/index.md", "docs/choose.md"]


def figure(path: str):
    """What the files of figures hold at NAME/KEY/..."""
    found = FIGURES
    for key in path.split("/"):
        found = found[key]
    return found


def shown(value: float, like: str) -> str:
    """A value as a quotation shows it: as many decimals, without a zero before the point, or in percent."""
    percent, decimals = like.endswith("%"), len(like.rstrip("%").partition(".")[2])
    text = f"{100 * value if percent else value:,.{decimals}f}"
    if not like.lstrip("-").startswith("0."):
        text = re.sub(r"^(-?)0\.", r"\1.", text)
    return text + "%" * percent


@pytest.mark.parametrize("page", sorted({page for page, *_ in QUOTED}))
def test_quoted_figures_were_measured(page):
    wrong = {}
    for _, quote, value, low, high, path in (one for one in QUOTED if one[0] == page):
        found, ends = figure(path), [] if low is None else [low, high]
        if isinstance(found, dict):
            measured = [shown(found[name], like) for name, like in zip(("low", "high"), ends, strict=False)]
            found = found["value"]
        else:
            measured = []
        if [shown(found, value), *measured] != [value, *ends]:
            wrong[quote] = [shown(found, value), *measured]
    assert wrong == {}, "what the page quotes, and what was measured"


def test_every_mark_is_read_and_most_files_are_quoted():
    marks = sum(text.count("<!-- figure:") for text in PAGES.values())
    assert marks == len(QUOTED) > 50
    assert set(FIGURES) == {path.partition("/")[0] for *_, path in QUOTED}


@pytest.mark.parametrize("page", WHOLLY_QUOTED)
def test_no_other_measured_number_stands_on_the_page(page):
    rest = QUOTE.sub("", re.sub(r"`[^`]*`|\]\([^)]*\)", "", PAGES[page]))
    rest = re.sub(r"Python 3\.\d+|Stable Diffusion 1\.5", "", rest)
    assert re.findall(r"\d*\.\d+%?|\d+%", rest) == ["5%"] * rest.count("top 5%")


def test_the_tables_of_the_leaderboard_are_its_figures():
    sections = {name: Section.model_validate(found) for name, found in FIGURES["leaderboard"].items()}
    methods = rank_methods(sections)
    for name, section in sections.items():
        if section.rows:
            order = list(section.rows) if name == "ablation" else methods
            table = section_table(section, order, "step" if name == "ablation" else "method")
            assert "\n".join(table) in PAGES["docs/leaderboard.md"], name


@pytest.mark.parametrize(
    ("value", "like", "text"), [(0.68, ".6", ".7"), (-0.04, "-.1", "-.0"), (1500, "1,500", "1,500")]
)
def test_a_value_is_shown_like_its_quotation(value, like, text):
    assert shown(value, like) == text
    assert shown(0.834, "83%") == "83%"
    assert shown(0.5, "0.1") == "0.5"
