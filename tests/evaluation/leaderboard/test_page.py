"""The page of the leaderboard: what was measured is in it, and nothing else."""

import json
import math
import re
from importlib import resources
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from whence.errors import ArtefactError
from whence.evaluation.leaderboard.measure import SECTIONS, read_sections
from whence.evaluation.leaderboard.page import rank_methods, write_page
from whence.evaluation.leaderboard.plots import BOUNDS, COLOURS, draw_plots
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.leaderboard.tables import number

METHODS = ("random", "d-trak", "journey-trak", "trak", "an embedding: of a|very <b>long</b> name, *in* `some` folder")
SVG = "{http://www.w3.org/2000/svg}"


def figure(value, half=None, chance=None, ceiling=None):
    ends = {} if half is None else {"low": value - half, "high": value + half}
    return {"value": value, "low": None, "high": None, "chance": chance, "ceiling": ceiling, **ends}


def curve(*values, half=None):
    return [
        [10.0 ** (k - 3), v, *((None, None) if half is None else (v - half, v + half))] for k, v in enumerate(values)
    ]


def whole():
    """Every section, with each kind of gap: methods without a column, figures without interval, chance or ceiling."""
    lds, levels = {}, (-0.0123, 0.4567, 0.2, 0.3891, 0.05)
    for k, (method, level) in enumerate(zip(METHODS, levels, strict=True)):
        lds[method] = {
            "held-out": figure(level, 0.061, 0.0, 0.93),
            "drawn": figure(0.9 * level, 0.0713, 0.0, 0.87),
            "held-out squared": figure(1.4 * level, 0.05, 0.0, 0.93),
            "published variant held-out": figure(level - 0.005, chance=0.0),
            **({"difference to best": figure(level - 0.4567, 0.07 + 0.01 * k, 0.0)} if method != "d-trak" else {}),
        }
    del lds["journey-trak"]["held-out"]
    rows = {
        "lds": lds,
        "choices": {"d-trak": {"damping": figure(0.01)}},
        "deterministic": {m: {c: figure(0.1, 0.11, 0.0, 1.0) for c in ("1%", "10%", "50%")} for m in METHODS[:3]},
        "deletion": {
            "d-trak": {"increase of the loss": figure(0.00312, 0.0007, 0.0), "share of queries": figure(0.95)}
        },
        "measures": {
            "trak": {"unique in top 10": figure(412.0, 14.0, 431.2), "traced first": figure(1.0, 0.0, 0.002)},
            "pixel": {"unique in top 10": figure(98.0, 9.0, 431.2), "outliers AUC": figure(0.71, 0.1, 0.5)},
        },
        "calibration": {"d-trak": {"R2": figure(0.2, 0.04, 0.0159)}, "trak": {"R2": figure(0.1, 0.04, 0.0312)}},
        "ensemble": {"second codebook": {"rank correlation": figure(0.024, 0.013, 0.0, 0.155)}},
        "runtime": {m: {"seconds": figure(s)} for m, s in (("trak", 1234.5), ("pixel", 0.01234), ("random", 0.0))},
        "ablation": {
            m: {"plain": figure(0.3, 0.06)} for m in ("second by name, first in order", "a step", METHODS[-1])
        },
    }
    curves = {
        "choices": {"damping": {"d-trak": curve(-0.1, 0.21, 0.34, 0.3), "trak": curve(0.0, 0.1, 0.05), "das": []}},
        "draws": {
            "lds over draws": {"d-trak": curve(0.19, 0.35, 0.44, half=0.06), "trak": curve(0.12, 0.28, half=0.05)}
        },
    }
    return {
        name: {
            "section": name,
            "seconds": 61.5,
            "rows": rows.get(name, {}),
            "notes": [f"How {name} was measured, with p < .05, `--some option`."],
            "curves": curves.get(name, {}),
            "inputs": {"bank": "abc"},
        }
        for name in SECTIONS
    }


def write(folder, sections):
    for name, content in sections.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return write(folder, whole())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of everything; only to be read."""
    return write_page(write(tmp_path_factory.mktemp("work"), whole()), tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="module")
def text(page):
    return page.read_text()


def parts(text):
    """Text below each heading of second order."""
    return dict(part.split("\n", 1) for part in text.split("\n## ")[1:])


def tables(text):
    """Every table as cells by head of the column, by head of the row; Markdown's escapes undone."""
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        lines = [[plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        found.append({row[0]: dict(zip(lines[0][1:], row[1:], strict=True)) for row in lines[2:]})
    return found


def plain(cell):
    return re.sub(r"\\(.)", r"\1", cell.strip()).replace("**", "")


def numbers(cell):
    return [float(one.replace(",", "")) for one in re.findall(r"-?[\d,]*\.?\d+(?:e-\d+)?", cell)]


def agrees(shown, value, half):
    """Whether a number is shown to three digits that count, or to two of its interval's half width."""
    return abs(shown - value) <= max(0.005 * abs(value), 0.05 * (half or 0.0)) + 1e-12


def test_every_figure_of_every_section_is_in_its_row(text):
    below = parts(text)
    for name, section in whole().items():
        table = tables(below[SECTIONS[name].title])
        for method, own in section["rows"].items():
            for column, one in own.items():
                cell = table[0][" ".join(method.split())][column]
                half = one["high"] - one["value"] if one["high"] is not None else None
                expected = [one[key] for key in ("value", "low", "high") if one[key] is not None]
                shown = numbers(cell)[: len(expected)]
                assert all(agrees(a, b, half) for a, b in zip(shown, expected, strict=True)), (method, column, cell)


def test_chance_and_ceiling_are_at_the_foot_or_beside_the_figure_where_they_differ(text):
    below = parts(text)
    lds = tables(below[SECTIONS["lds"].title])[0]
    assert (lds["*by chance*"]["held-out"], lds["*ceiling*"]["held-out"], lds["*ceiling*"]["drawn"]) == (
        ".000",
        ".930",
        ".870",
    )
    calibration = tables(below[SECTIONS["calibration"].title])[0]
    assert calibration["d-trak"]["R2"] == ".200 (.160 to .240); by chance .016"
    assert "*by chance*" not in calibration


def test_every_point_of_every_curve_is_in_its_row(text):
    below = parts(text)
    for name, section in whole().items():
        for series in section["curves"].values():
            table = tables(below[SECTIONS[name].title])[-1]
            assert set(table) == {method for method, points in series.items() if points}
            for method, points in series.items():
                for x, value, low, high in points:
                    cell = table[method][number(x)]
                    expected = [value] if low is None else [value, low, high]
                    shown = numbers(cell)[: len(expected)]
                    assert all(abs(a - b) <= 5e-4 + 1e-12 for a, b in zip(shown, expected, strict=True)), (x, cell)


def test_the_table_of_all_methods_is_sorted_by_plain_lds_and_shows_what_the_sections_do(text):
    table = tables(parts(text)["All methods"])[0]
    means = {
        "d-trak": 0.95 * 0.4567,
        "trak": 0.95 * 0.3891,
        "journey-trak": 0.18,
        METHODS[-1]: 0.0475,
        "random": -0.0117,
    }
    assert list(table) == [*sorted(means, key=means.get, reverse=True), "pixel"]
    assert table["d-trak"]["LDS, held-out"] == ".46 <sub>(.40\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}.52)</sub>"
    assert table["d-trak"]["of the ceiling"] == "49%, 47%"
    assert table["journey-trak"]["of the ceiling"] == "21%"
    assert table["journey-trak"]["LDS, held-out"] == "-"
    assert table["pixel"] == dict.fromkeys(table["pixel"], "-") | {
        "outliers, AUC": ".71 <sub>(.61\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}.81)</sub>",
        "seconds": ".0123",
    }


def test_steps_of_an_ablation_keep_their_order(text):
    steps = list(tables(parts(text)["The way to the default method"])[0])
    assert steps == list(whole()["ablation"]["rows"])


def test_notes_are_in_the_page_and_what_cannot_be_told_apart_is_said(text):
    for name in SECTIONS:
        assert f"- How {name} was measured, with p &lt; .05, `--some option`." in text
    assert "These subsets are too few to tell the best method from trak." in text


def test_the_chosen_damping_is_marked(text):
    body = parts(text)[SECTIONS["choices"].title]
    assert "| d-trak | -.100 | **.210** | .340 | .300 |" in body  # .01 was chosen, though .1 is higher
    assert "| trak | .000 | **.100** | .050 | - |" in body


def test_more_draws_are_said_as_a_multiple_of_the_first(text):
    assert "x2.3" in tables(parts(text)[SECTIONS["draws"].title])[0]["d-trak"][".1"]


def test_all_plots_are_there_and_shown(page):
    shown = re.findall(r"!\[[^\n]+\]\((.+)\)", page.read_text())
    assert sorted(shown) == sorted(path.name for path in page.parent.glob("*.svg"))
    assert len(shown) == 5


def test_the_same_sections_give_the_same_bytes(work, tmp_path):
    first, second = (write_page(work, tmp_path / name).parent for name in "ab")
    for file in filter(Path.is_file, first.rglob("*")):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()


def test_all_figures_stand_beside_the_page(page):
    figures = json.loads((page.parent / "figures" / "leaderboard.json").read_text())
    assert {name: Section.model_validate(found) for name, found in figures.items()} == {
        name: Section.model_validate(content) for name, content in whole().items()
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_missing_sections_are_said(tmp_path, name):
    page = write_page(write(tmp_path, {name: whole()[name]}), tmp_path / "docs", "whence leaderboard my-bank")
    below = parts(page.read_text())
    for other in SECTIONS:
        title = SECTIONS[other].title
        if other == "ablation" and name != other:
            assert title not in below
        else:
            missing = f"Not measured yet: `whence leaderboard my-bank --only {other}` does."
            assert (missing in below[title].replace("\n", " ")) == (other != name)
            assert bool(tables(below[title])) == (other == name)


def test_a_plot_that_is_no_longer_measured_goes(work, tmp_path):
    docs = write_page(work, tmp_path / "docs").parent
    (docs / "laws.png").write_bytes(b"of somebody else")
    (work / "deterministic.json").unlink()
    write_page(work, docs)
    assert not (docs / "leaderboard-deterministic.svg").exists()
    assert (docs / "leaderboard-lds.svg").exists()
    assert (docs / "laws.png").exists()


def set_figure(content, **changed):
    content["rows"]["trak"]["drawn"] |= changed


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: set_figure(c, value=math.nan), "rows > trak > drawn > value: Input should be a finite number"),
        (lambda c: set_figure(c, ceiling=math.inf), "ceiling: Input should be a finite number"),
        (lambda c: set_figure(c, value=None), "value: Input should be a valid number"),
        (lambda c: set_figure(c, value="0.5"), "value: Input should be a valid number"),
        (lambda c: set_figure(c, low=None), "an interval has two ends"),
        (lambda c: set_figure(c, low=2.0), "the lower end of an interval is above its upper end"),
        (lambda c: c.update(curves={"a": {"b": [[1.0, math.nan, None, None]]}}), "curves > a > b > 0 > 1"),
        (lambda c: c.update(curves={"a": {"b": [[1.0, 0.5, 0.6, 0.4]]}}), "the lower end"),
        (lambda c: c.update(curves={"a": {"b": [[1.0, 0.5]]}}), "curves > a > b > 0"),
        (lambda c: c.update(section="draws"), "holds the section 'draws', not 'lds'"),
        (lambda c: c.update(notes="one"), "notes"),
        (lambda c: c.clear(), "section: Field required"),
    ],
)
def test_what_is_damaged_is_refused_and_nothing_written(work, tmp_path, damage, said):
    content = whole()["lds"]
    damage(content)
    write(work, {"lds": content})
    with pytest.raises(ArtefactError, match=re.escape(said)) as caught:
        write_page(work, tmp_path / "docs")
    assert "lds.json" in str(caught.value)
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"section": 1}'])
def test_files_that_are_no_section_are_refused(tmp_path, content):
    (tmp_path / "lds.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"lds\.json"):
        write_page(tmp_path, tmp_path / "docs")


def test_a_folder_without_sections_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="Nothing was measured"):
        read_sections(tmp_path)


def test_no_figure_stands_in_the_words():
    template = resources.files("whence.evaluation.leaderboard") / "leaderboard.md.j2"
    words = " ".join([template.read_text(), *(f"{spec.title} {spec.question}" for spec in SECTIONS.values())])
    assert set(re.findall(r"\d+", words)) <= {"95", "1"}  # the level of all intervals, and the largest correlation


def svgs(docs):
    return {path.stem.removeprefix("leaderboard-"): ElementTree.parse(path).getroot() for path in docs.glob("*.svg")}


@pytest.fixture(scope="module")
def drawn(page):
    return svgs(page.parent)


@pytest.fixture(scope="module")
def plots():
    """The plots of everything."""
    sections = {name: Section.model_validate(content) for name, content in whole().items()}
    return draw_plots(sections, rank_methods(sections))


def boxes(root):
    """Left, upper, right and lower end of every text."""
    found, font = [], FontProperties(family="DejaVu Sans", size=9)
    for one in root.iter(f"{SVG}text"):
        wide, high, deep = TextToPath().get_text_width_height_descent(one.text, font, ismath=False)
        place = re.findall(r"-?[\d.]+", one.get("transform"))
        x, y, turn = (*place[1:], place[0]) if one.get("x") else (*place, *([] if len(place) == 3 else ["0"]))
        anchor = re.search(r"text-anchor: (\w+)", one.get("style"))
        before = {"start": 0, "middle": wide / 2, "end": wide}[anchor[1] if anchor else "start"]
        x, y, high = float(x), float(y), high - deep
        if float(turn):
            found.append((x - high, y - wide + before, x + deep, y + before))
        else:
            found.append((x - before, y - high, x - before + wide, y + deep))
    return found


@pytest.mark.parametrize("name", ["lds", "choices", "draws", "deterministic", "ablation"])
def test_texts_of_a_plot_neither_overlap_nor_leave_it(drawn, name):
    root = drawn[name]
    found = boxes(root)
    _, _, width, height = map(float, root.get("viewBox").split())
    assert len(found) > 5
    for k, (left, upper, right, lower) in enumerate(found):
        assert left >= 0
        assert right <= width
        assert upper >= 0
        assert lower <= height
        for other in found[:k]:
            apart = left >= other[2] or other[0] >= right or upper >= other[3] or other[1] >= lower
            assert apart, (other, found[k])


@pytest.mark.parametrize("name", ["lds", "choices", "draws", "deterministic", "ablation"])
def test_a_plot_has_a_white_ground_and_words_for_those_who_cannot_see_it(drawn, plots, name):
    root = drawn[name]
    assert next(root.iter(f"{SVG}path")).get("style") == "fill: #ffffff"
    assert root.findtext(f"{SVG}title") == plots[name].title
    assert plots[name].description in [one.text for one in root.iter() if one.tag.endswith("}description")]


def lines(plot, colour):
    """x and y of every curve and series of marks of a plot in a colour."""
    (axes,) = plot.chart.axes
    found = [line for line in axes.get_lines() if line.get_color() == colour and len(line.get_xdata()) != 2]
    return [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in found]


def test_marks_stand_where_the_values_are(plots):
    values = sorted(
        (own["held-out"]["value"] for own in whole()["lds"]["rows"].values() if "held-out" in own), reverse=True
    )
    (marks,) = lines(plots["lds"], COLOURS[0])
    assert [x for x, _ in marks] == values
    assert all(below > above for (_, above), (_, below) in pairwise(marks))


def test_ceiling_and_chance_are_lines(plots, drawn):
    (axes,) = plots["lds"].chart.axes
    dashed = sorted((line.get_xdata()[0], line.get_linestyle()) for line in axes.get_lines() if line.is_dashed())
    assert [x for x, _ in dashed] == [0.0, 0.0, 0.87, 0.93]  # one for each kind of query
    (axes,) = plots["draws"].chart.axes
    levels = {line.get_label(): line.get_ydata()[0] for line in axes.get_lines() if line.is_dashed()}
    assert levels == {"ceiling": pytest.approx(0.9), "by chance": 0.0}
    for name in ("lds", "draws"):
        assert {words for words, _ in BOUNDS.values()} <= {one.text for one in drawn[name].iter(f"{SVG}text")}


def test_the_chosen_damping_is_marked_in_its_panel(plots):
    marks = {
        axes.get_title(loc="left"): [(*line.get_xdata(), *line.get_ydata()) for line in axes.get_lines()][-2]
        for axes in plots["choices"].chart.axes
    }
    assert marks == {"d-trak\n.210 at .01": (0.01, 0.21), "trak\n.100 at .01": (0.01, 0.1)}


def test_long_names_are_cut_in_plots_and_whole_in_tables(drawn, text):
    assert any(
        one.text.startswith("an embedding: of a|very") and one.text.endswith("…")
        for one in drawn["lds"].iter(f"{SVG}text")
    )
    assert r"an embedding: of a\|very \<b\>long\</b\> name, \*in\* \`some\` folder" in text


@pytest.mark.parametrize("value", [0.0, -0.5, 1e-9, 1e7])
def test_whatever_the_values_a_plot_is_drawn(tmp_path, value):
    rows = {"only": {"held-out": figure(value), "drawn": figure(value, 0.0, value, value)}}
    curves = {"lds over draws": {"only": [[10.0, value, None, None], [0.0, value, None, None]]}}
    flat = {"damping": {"only": [[1.0, value, None, None]]}}
    sections = {"lds": {"rows": rows}, "draws": {"curves": curves}, "choices": {"curves": flat}}
    page = write_page(
        write(tmp_path, {name: {"section": name, **own} for name, own in sections.items()}), tmp_path / "docs"
    )
    found = svgs(page.parent)
    assert set(found) == {"lds", "draws", "choices"}
    for root in found.values():
        assert not re.search("nan|inf", ElementTree.tostring(root, "unicode").replace("dominant", ""))


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(0, 8))
def test_a_number_is_written_to_its_digits(value, decimals):
    assert float(number(value, decimals).replace(",", "")) == pytest.approx(
        value, abs=0.5000001 * 10.0**-decimals + 1e-14 * abs(value)
    )


@settings(deadline=None)
@given(st.floats(-1e9, 1e9))
def test_a_number_is_written_to_three_digits_without_knowing_more(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.0051, abs=0)
